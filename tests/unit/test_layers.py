"""Who may import whom: the contracts of pyproject.toml's [tool.importlinter], and what they cannot say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp")

REPOSITORY = Path(__file__).resolve().parents[2]
PYPROJECT = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
CONTRACTS = re.findall(r'\[\[tool\.importlinter\.contracts\]\]\nname = "([^"]+)"', PYPROJECT)


def run_python(code: str, *, path: Path = REPOSITORY / "src") -> str:
    """Standard output of a fresh interpreter in the repository."""
    environment = {**os.environ, "PYTHONPATH": str(path), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout + done.stderr


def lint_imports(*, path: Path = REPOSITORY / "src") -> str:
    return run_python(
        "import sys; sys.argv = ['lint-imports', '--no-cache', '--no-logo']; "
        # the finder of an editable installation comes before every path
        "sys.meta_path[:] = [each for each in sys.meta_path if 'Redirecting' not in type(each).__name__]; "
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        path=path,
    )


@pytest.fixture(scope="module")
def report() -> str:
    return lint_imports()


@pytest.mark.parametrize("contract", CONTRACTS)
def test_contracts_on_imports_are_kept(contract: str, report: str) -> None:
    assert f"{contract} KEPT" in report, report


# One line for every contract that breaks it. A new module breaks the layers too.
VIOLATIONS = {
    "models/fm.py": "import anyfm.data.schema, polars, pandas, torch.nn\nfrom sklearn import metrics",
    "core/rows.py": "def f():\n    from anyfm.models import fm",
    "core/task.py": "import anyfm.core.errors",
    "core/errors.py": "from anyfm.core import task",
    "training/loop.py": "import optuna, pickle, typer, fastapi, onnx\nimport plotly.graph_objects as go",
    "helpers.py": "",
}


def test_contracts_on_imports_can_be_broken(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "src" / "anyfm", tmp_path / "anyfm", ignore=shutil.ignore_patterns("*.so", "*.pyc"))
    for name, lines in VIOLATIONS.items():
        with (tmp_path / "anyfm" / name).open("a", encoding="utf-8") as file:
            file.write(f"\n{lines}\n")
    found = lint_imports(path=tmp_path)
    assert [name for name in CONTRACTS if f"{name} BROKEN" not in found] == []
    for said in ("helpers", "anyfm.core.rows -> anyfm.models.fm", "anyfm.models is not allowed to import anyfm.data"):
        assert said in found, found


@pytest.fixture(scope="module")
def graph() -> object:
    return grimp.build_graph("anyfm", include_external_packages=True, exclude_type_checking_imports=True)


def test_every_library_is_a_dependency(graph) -> None:
    """Libraries are declared in pyproject.toml, or required by one that is (rich by typer, pydantic by fastapi …)."""
    declared = re.findall(r'^  "([A-Za-z0-9_-]+)[^"]*",?$', PYPROJECT.partition("[project.scripts]")[0], re.MULTILINE)
    assert "numpy" in declared
    known = {name.lower().replace("-", "_") for name in declared} | {"torch", "plotly", "jinja2", "markupsafe", "rich"}
    known |= {"pydantic", "pydantic_core"}
    modules = {"sklearn": "scikit_learn", "fbgemm_gpu": "torchrec"}  # where a module is not called as its package
    external = {name for name in graph.modules if not name.startswith("anyfm")}
    libraries = {name for name in external if name not in sys.stdlib_module_names}
    assert {name for name in libraries if modules.get(name, name) not in known} == set()


def test_modules_take_nothing_but_its_version_and_kernels_from_the_package_itself(graph) -> None:
    """What `import anyfm` offers is for users."""
    importers = graph.find_modules_that_directly_import("anyfm") - {"anyfm.__main__"}
    lines = {
        (importer, details["line_contents"])
        for importer in importers
        for details in graph.get_import_details(importer=importer, imported="anyfm")
    }
    allowed = {"from anyfm import __version__", "from anyfm import _cpu", "import anyfm._cpu as _cpu"}
    assert {line for line in lines if line[1] not in allowed} == set()


def test_modules_are_imported_by_name_in_two_places_only() -> None:
    """import_module hides an import from the contracts."""
    source = REPOSITORY / "src" / "anyfm"
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"import_module|__import__", path.read_text(encoding="utf-8"))
    }
    assert found <= {"__init__.py", "core/native.py"}


HEAVY = ("torch", "polars", "sklearn", "scipy", "pandas", "pyarrow", "typer", "rich", "plotly")


@pytest.mark.parametrize("module", ["anyfm", "anyfm.models", "anyfm.training", "anyfm.engines.base"])
def test_importing_loads_no_heavy_library(module: str) -> None:
    loaded = run_python(f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_import_anyfm_is_quick() -> None:
    """Processor time beyond numpy's, so that a busy machine does not matter; the best of three."""
    code = "import numpy, time; t = time.process_time(); import anyfm; print(time.process_time() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.1
