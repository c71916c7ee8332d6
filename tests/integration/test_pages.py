"""docs/ranking.md and docs/export.md tell the truth: their Python runs, in the order of the page."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def blocks_of(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


BLOCKS = blocks_of("ranking.md")
CHECK = "assert positions.ravel().tolist()[:3] == order.tolist()[:3]\n"
ENGINES = {"faiss": CHECK, "usearch": CHECK}


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr


def test_its_python_runs() -> None:
    plain = [block for block in BLOCKS if not any(engine in block for engine in ENGINES)]
    assert len(plain) == 2
    run(
        "\n".join(plain)
        + "assert best.columns == ['film', 'score', 'rank'] and len(best) == 10\n"
        + "assert 'film 3' not in best['film']\n"
        + "assert len(everything) == 300 and len(like_it) == 5\n"
        + "assert for_all.columns == ['user', 'film', 'score', 'rank']\n"
        + "assert items.keys.gather(order[:3]).to_list() == everything['film'].to_list()[:3]\n"
        + "assert model.training_data['n_valid_rows'] == 200\n"
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_the_recipes_run_where_the_engine_is_installed(engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    plain = [block for block in BLOCKS if not any(each in block for each in ENGINES)]
    recipe = [block for block in BLOCKS if f"import {engine}" in block or f"from {engine}" in block]
    assert len(recipe) == 1
    run("\n".join([*plain, *recipe]) + ENGINES[engine])


def test_the_python_of_export_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("\n".join(blocks_of("export.md")))
    assert (tmp_path / "model.onnx").exists()
