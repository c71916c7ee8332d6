"""The README tells the truth: its commands and its Python run, its tables and links are complete."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from anyfm.cli import app
from tests.integration.command_line import anyfm

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize(("language", "block"), BLOCKS, ids=[f"{i}-{block[0]}" for i, block in enumerate(BLOCKS)])
def test_blocks_run_in_the_order_of_the_page(folder, monkeypatch, language, block):
    monkeypatch.chdir(folder)
    if language == "console":
        for line in block.splitlines():
            assert line.startswith("$ anyfm "), line
            anyfm(*shlex.split(line.removeprefix("$ anyfm ")))
    else:
        assert language == "python"
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_there_are_blocks_to_run():
    assert [language for language, _ in BLOCKS] == ["console", "python", "console", "console", "python", "python"]


def test_every_command_is_in_the_table():
    assert typer.main.get_command(app).commands.keys() == set(
        re.findall(r"^\| `anyfm (\w+)", README, flags=re.MULTILINE)
    )


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
