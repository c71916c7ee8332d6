"""Help pages: complete, grouped, and readable in a terminal of 80 columns; options are the declared settings."""

from __future__ import annotations

import re

import pytest
import typer

from anyfm.cli import app
from anyfm.cli.options import GENERAL
from anyfm.models import MODELS
from tests.integration.command_line import anyfm

COMMANDS = typer.main.get_command(app).commands
KINDS = (*GENERAL, *(model.settings_type for model in MODELS.values()))


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def train_help():
    return anyfm("train", "--help").stdout


def words(text):
    return text.replace("│", " ").split()


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_a_page_has_80_columns_and_whole_words(command):
    arguments = [] if command is None else [command]
    page = anyfm(*arguments, "--help").stdout
    assert max(map(len, page.splitlines())) <= 80
    shown = words(page)
    assert not [word for word in shown if word.endswith("…") and word != "…"]
    parameters = COMMANDS[command].params if command else []
    for parameter in parameters:
        for word in [*"/".join([*parameter.opts, *parameter.secondary_opts]).split(), *parameter.help.split()]:
            if parameter.param_type_name == "option" or word not in parameter.opts:
                assert word in shown, f"{parameter.name}: {word}"
    description = (COMMANDS[command].help if command else app.registered_callback.callback.__doc__).split()
    assert [word for word in description if word not in shown] == []


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_a_page_ends_with_examples_of_real_commands_and_options(command):
    page = anyfm(*([] if command is None else [command]), "--help").stdout
    examples = page[page.index("Examples:\n") :].splitlines()[1:]
    assert examples
    for example in examples:
        assert example.startswith("  anyfm ")
        name = example.split()[1]
        assert command in (None, name)
        known = {flag for parameter in COMMANDS[name].params for flag in parameter.opts} | {"--help"}
        assert known.issuperset(re.findall(r" (--[\w-]+)", example)), example


def test_required_things_are_marked(train_help):
    assert train_help.startswith("Usage: ")
    assert "train DATA --out DIR [OPTIONS]" in train_help.splitlines()[0]
    assert train_help.count("Required.") == 2


def test_options_are_in_panels_in_order(train_help):
    panels = re.findall(r"^╭─ (\w+)", train_help, flags=re.MULTILINE)
    assert panels == ["Arguments", "Data", "Model", "Training", "Validation", "Runtime", "Output"]
    for panel, option in (
        ("Data", "--min-count"),
        ("Model", "--n-factors"),
        ("Training", "--epochs"),
        ("Runtime", "--n-threads"),
    ):
        _, _, rest = train_help.partition(f"╭─ {panel}")
        assert option in rest.partition("╰")[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_setting_is_an_option_with_its_help_and_default(train_help, kind):
    page = " ".join(words(train_help))
    for name, item in kind.__dataclass_fields__.items():
        if name in kind.names():
            flag = "--field" if name == "fields" else f"--{name.replace('_', '-')}"
            assert re.search(rf"{flag}[ /]", page), name
            if name != "task" or kind in GENERAL:
                assert item.metadata["help"][1:] in page, name
    assert re.search(r"Default: 0\.3 \(linear, fm,[^)]*\), 0\.4 \(deepfm\)\.", page)


def test_without_a_command_the_page_is_shown():
    assert anyfm().stdout == anyfm("--help").stdout
    assert all(f"│ {command} " in anyfm().stdout for command in COMMANDS)
    assert re.fullmatch(r"anyfm \d+\.\d+\.\d+\n", anyfm("--version").stdout)
