"""anyfm.data depends on anyfm.core only, and is loaded only when it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import anyfm.data

FOLDER = Path(anyfm.data.__file__).parent


def test_importing_anyfm_does_not_load_polars():
    program = "import sys, anyfm; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_data_imports_core_and_nothing_else_of_anyfm():
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                allowed = ("anyfm.core", "anyfm.data")
                assert not name.startswith("anyfm") or name.startswith(allowed), f"{path.name} imports {name}"


def test_modules_of_data_can_be_loaded_in_any_order():
    """No import circle: no module imports another one inside a function, except for the standard library."""
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                inner = [item for item in ast.walk(node) if isinstance(item, ast.ImportFrom)]
                assert not any((item.module or "").startswith("anyfm") for item in inner), path.name
