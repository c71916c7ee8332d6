"""The house rules of docs/design.md, read from the sources: who may import whom, who knows which library, how long
things may get. A rule that has to give way is changed here, with its reason, not worked around."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "anyfm"

# From top to bottom. A room (a module or folder right under anyfm/) imports its own layer and those below.
LAYERS = (
    ("__init__", "__main__", "estimators", "cli", "serve"),
    ("workflow", "prepare"),
    ("explain", "training", "artifact", "predictor"),
    ("engines",),
    ("models", "dataset", "table"),
    ("rows", "config", "errors", "atomic", "threads", "_native", "_cpu", "_native_*"),
)
# Nothing imports a face, but for these doors: the package's lazy names, python -m anyfm, and `anyfm serve`.
DOORS = {("__init__", "estimators"), ("__main__", "cli"), ("cli", "serve")}
# Within one layer, these arrows are closed: what a model is does not depend on where its rows come from.
CLOSED = {("models", "table"), ("models", "dataset")}
# Which modules know which library; a library that is not listed here is not a dependency.
EVERYONE = ("*",)
KNOWN_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("numpy", "safetensors", "tomli", "rich"), EVERYONE),
    "polars": ("table.*",),
    **dict.fromkeys(("pandas", "pyarrow"), ("table.readers",)),
    **dict.fromkeys(("torch", "torchrec", "fbgemm_gpu"), ("engines.*", "training.torch*")),
    "sklearn": ("estimators", "estimators.*"),
    "typer": ("cli", "cli.*"),
    "plotly": ("explain.report",),
    "threadpoolctl": ("explain.deep",),
    **dict.fromkeys(("http", "socketserver", "wsgiref"), ("serve", "serve.*")),
    **dict.fromkeys(("pickle", "marshal", "shelve"), ()),  # a saved model is data, never code
}
# Read by the type checker alone, which brings it along: imported behind TYPE_CHECKING or not at all.
FOR_TYPES_ONLY = {"typing_extensions"}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60  # its docstring not counted
# "path" or "path:function" from the repository's root, with the reason why it may be longer.
LONG_WITH_REASON: dict[str, str] = {
    "src/anyfm/cli/training.py:train": "the signature of a command is its list of options; the body is short",
}


@dataclass(frozen=True)
class Import:
    """One imported name: by which module, in which line, and what."""

    importer: str  # "training.loop", without anyfm
    line: int
    target: str  # "anyfm.rows", "polars.selectors", ...
    for_types: bool  # behind TYPE_CHECKING

    @property
    def place(self) -> str:
        return f"{self.importer}, line {self.line}"


def modules(package: Path) -> dict[str, Path]:
    """Every module under the package by its dotted name without "anyfm."; packages by their own name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def imports(package: Path) -> list[Import]:
    """All imports, wherever they stand: in functions, behind TYPE_CHECKING, and through import_module("...")."""
    found = []
    for name, path in modules(package).items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {inner for node in ast.walk(tree) for inner in _behind_type_checking(node)}
        for node in ast.walk(tree):
            for target in _targets(node, name, is_package=path.name == "__init__.py"):
                found.append(Import(name, node.lineno, target, node in for_types))
    return found


def _behind_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for statement in node.body:
            yield from ast.walk(statement)


def _targets(node: ast.AST, importer: str, *, is_package: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            own = ["anyfm"] if importer == "__init__" else ["anyfm", *importer.split(".")]
            parent = own[: len(own) + (1 if is_package else 0) - node.level]
            base = ".".join([*parent, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and node.args:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
        if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
            yield str(first.value)


def layer_of(room: str) -> int | None:
    return next((i for i, rooms in enumerate(LAYERS) if any(fnmatch(room, pattern) for pattern in rooms)), None)


def arrows(package: Path) -> list[tuple[str, str, Import]]:
    """(from room, to room, import) for every import between two rooms of the package."""
    rooms = {name.split(".")[0] for name in modules(package)}
    found = []
    for item in imports(package):
        first, *rest = item.target.split(".")
        if first != "anyfm" or rest == ["__version__"]:
            continue
        is_room = rest and (rest[0] in rooms or layer_of(rest[0]) is not None)
        source, target = item.importer.split(".")[0], rest[0] if is_room else "__init__"
        if source != target:
            found.append((source, target, item))
    return found


def layer_violations(package: Path) -> list[str]:
    found = [
        f"anyfm/{room} stands in no layer: give it one in LAYERS"
        for room in sorted({name.split(".")[0] for name in modules(package)})
        if layer_of(room) is None
    ]
    within: dict[str, set[str]] = {}
    for source, target, item in arrows(package):
        from_layer, to_layer = layer_of(source), layer_of(target)
        if from_layer is None or to_layer is None or (source, target) in DOORS:
            continue
        if to_layer == 0:
            found.append(f"{item.place}: nothing imports a face, but this imports {item.target}")
        elif to_layer < from_layer:
            found.append(f"{item.place}: {source} stands below {target} and must not import {item.target}")
        elif (source, target) in CLOSED:
            found.append(f"{item.place}: {source} must not import {item.target}")
        elif to_layer == from_layer:
            within.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(within).prepare()
    except CycleError as error:
        found.append("rooms import each other in a circle: " + " → ".join(error.args[1]))
    return found


def library_violations(package: Path) -> list[str]:
    found = []
    for item in imports(package):
        library = item.target.split(".")[0]
        if library == "anyfm" or (library not in KNOWN_BY and library in sys.stdlib_module_names):
            continue
        if item.for_types and library in FOR_TYPES_ONLY:
            continue
        if library not in KNOWN_BY:
            found.append(f"{item.place}: {library} is no dependency of anyfm")
        elif not any(fnmatch(item.importer, p) or fnmatch(item.importer + ".", p) for p in KNOWN_BY[library]):
            found.append(f"{item.place}: must not know {library}")
    return found


def too_long(repository: Path) -> dict[str, str]:
    """What is past its limit, by "path" or "path:function", with its length."""
    found = {}
    sources = [*(repository / "src").rglob("*.py"), *(repository / "native").glob("*.[ch]pp")]
    for path in sorted(sources):
        name, text = path.relative_to(repository).as_posix(), path.read_text(encoding="utf-8")
        n_lines = text.count("\n")
        if n_lines > MAX_FILE_LINES:
            found[name] = f"{n_lines} lines, more than {MAX_FILE_LINES}"
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = _function_lines(node)
                if length > MAX_FUNCTION_LINES:
                    found[f"{name}:{node.name}"] = f"{length} lines, more than {MAX_FUNCTION_LINES}"
    return found


def _function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    length = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        assert docstring.end_lineno is not None
        length -= docstring.end_lineno - docstring.lineno + 1
    return length


# ---- the rules, held to the package


def test_every_room_imports_only_its_layer_and_those_below() -> None:
    assert layer_violations(PACKAGE) == []


def test_libraries_are_known_only_where_they_should_be() -> None:
    assert library_violations(PACKAGE) == []


def test_files_and_functions_fit_on_a_few_screens() -> None:
    long = {place: length for place, length in too_long(REPOSITORY).items() if place not in LONG_WITH_REASON}
    assert long == {}, "divide it, or list it in LONG_WITH_REASON with a reason"


def test_exceptions_to_length_are_still_needed() -> None:
    assert set(LONG_WITH_REASON) <= set(too_long(REPOSITORY))


def in_a_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["anyfm", "anyfm.rows", "anyfm.models", "anyfm.training", "anyfm.engines.base"])
def test_importing_loads_no_heavy_library(module: str) -> None:
    heavy = ["torch", "polars", "sklearn", "scipy", "pandas", "pyarrow", "typer", "rich"]
    loaded = in_a_fresh_python(f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_import_anyfm_is_quick() -> None:
    # Processor time beyond numpy's, so that a busy machine does not matter; the best of three, so that a cold disk
    # does not either.
    code = "import numpy, time; t = time.process_time(); import anyfm; print(time.process_time() - t)"
    assert min(float(in_a_fresh_python(code)) for _ in range(3)) < 0.1


# ---- the rules themselves can fail


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"rows.py": "import anyfm.config\nfrom anyfm import errors", "errors.py": ""}, None),
        ({"cli/train.py": "from anyfm.training.loop import fit", "training/loop.py": ""}, None),
        ({"artifact.py": "from anyfm import __version__", "__init__.py": ""}, None),
        ({"models/fm.py": "from anyfm.engines import base"}, "models stands below engines"),
        ({"models/fm.py": "from ..engines import base"}, "models stands below engines"),
        ({"models/__init__.py": "from ..engines import base"}, "models stands below engines"),
        ({"models/fm.py": "from .base import Model", "models/base.py": ""}, None),
        ({"config.py": "def f():\n    import anyfm.rows.x, anyfm.table"}, "config, line 2: config stands below table"),
        ({"table/x.py": "if TYPE_CHECKING:\n    from anyfm.training import loop"}, "table stands below training"),
        ({"rows.py": "import importlib\nimportlib.import_module('anyfm.models')"}, "rows stands below models"),
        ({"rows.py": "from importlib import import_module\nimport_module(f'anyfm.models.{x}')"}, "below models"),
        ({"engines/native.py": "from anyfm import _cpu, _native_avx2"}, None),
        ({"models/fm.py": "from anyfm.table import encoder"}, "models must not import anyfm.table"),
        ({"models/fm.py": "import anyfm.dataset"}, "models must not import anyfm.dataset"),
        ({"training/loop.py": "from anyfm.cli import app"}, "nothing imports a face"),
        ({"training/loop.py": "from anyfm import load"}, "nothing imports a face"),
        ({"training/loop.py": "import anyfm"}, "nothing imports a face"),
        ({"serve/app.py": "import anyfm.cli"}, "nothing imports a face"),
        ({"cli/run.py": "from anyfm.serve import run", "__main__.py": "from anyfm.cli import main"}, None),
        ({"helpers.py": ""}, "anyfm/helpers stands in no layer"),
        ({"utils/x.py": ""}, "anyfm/utils stands in no layer"),
        (
            {"artifact.py": "import anyfm.predictor", "predictor.py": "import anyfm.artifact"},
            "in a circle: artifact → predictor → artifact",
        ),
        ({"artifact.py": "import anyfm.training", "predictor.py": "import anyfm.artifact"}, None),
    ],
)
def test_the_layer_rule_finds(tmp_path: Path, files: dict[str, str], found: str | None) -> None:
    violations = layer_violations(written(tmp_path, files))
    assert len(violations) == (0 if found is None else 1), violations
    assert found is None or found in violations[0]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"table/schema.py": "import polars as pl", "table/__init__.py": "from polars import col"}, None),
        ({"artifact.py": "if TYPE_CHECKING:\n    import polars"}, "artifact, line 2: must not know polars"),
        ({"table/readers.py": "import pandas, pyarrow.parquet"}, None),
        ({"table/schema.py": "from pandas import DataFrame"}, "must not know pandas"),
        ({"engines/torch.py": "import torch\nfrom torch import nn", "training/torch_amp.py": "import torch"}, None),
        ({"training/loop.py": "def f():\n    import torch.nn"}, "training.loop, line 2: must not know torch"),
        ({"predictor.py": "import importlib\nimportlib.import_module('torch')"}, "must not know torch"),
        ({"estimators.py": "from sklearn.base import BaseEstimator"}, None),
        ({"training/metrics.py": "from sklearn.metrics import log_loss"}, "must not know sklearn"),
        ({"workflow.py": "import typer"}, "must not know typer"),
        ({"cli/__init__.py": "import typer", "serve/app.py": "import http.server"}, None),
        ({"predictor.py": "from http.server import HTTPServer"}, "must not know http"),
        ({"artifact.py": "import pickle"}, "must not know pickle"),
        ({"rows.py": "if TYPE_CHECKING:\n    from typing_extensions import Self"}, None),
        ({"rows.py": "if TYPE_CHECKING:\n    pass\nelse:\n    import typing_extensions"}, "no dependency"),
        ({"rows.py": "from typing_extensions import Self"}, "typing_extensions is no dependency of anyfm"),
        ({"rows.py": "import scipy.sparse"}, "scipy is no dependency of anyfm"),
        ({"rows.py": "import json, os.path\nimport numpy as np\nfrom __future__ import annotations"}, None),
    ],
)
def test_the_library_rule_finds(tmp_path: Path, files: dict[str, str], found: str | None) -> None:
    violations = library_violations(written(tmp_path, files))
    assert len(violations) == (0 if found is None else 1), violations
    assert found is None or found in violations[0]


def test_the_length_rule_finds(tmp_path: Path) -> None:
    docstring = '    """' + "text\n" * 70 + '    """\n'
    body = "    x = 1\n"
    written(
        tmp_path,
        {
            "src/anyfm/long.py": "x = 1\n" * 401,
            "src/anyfm/fits.py": "x = 1\n" * 400,
            "native/long.hpp": "//\n" * 401,
            "src/anyfm/functions.py": (
                "def fits():\n" + docstring + body * 59 + "class A:\n    async def long(self):\n" + ("    " + body) * 60
            ),
        },
    )
    assert too_long(tmp_path) == {
        "native/long.hpp": "401 lines, more than 400",
        "src/anyfm/functions.py:long": "61 lines, more than 60",
        "src/anyfm/long.py": "401 lines, more than 400",
    }
