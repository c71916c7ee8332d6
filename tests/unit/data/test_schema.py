"""Schemas are plain data: saved and restored, shown, and read from TOML."""

from __future__ import annotations

import json

import polars as pl
import pytest

from anyfm.core.errors import InputError, SettingError
from anyfm.data import Field, Schema, infer_schema, schema_from_toml


def test_json_restores_a_schema():
    frame = pl.DataFrame(
        {"x": ["a", "b", "a"], "t": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": [0, 1, 1], "w": [1.0, 2.0, 3.0]}
    )
    schema = infer_schema(frame, target="y", weight="w", overrides={"t": {"parts": ["month"]}})
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_describe_has_a_line_per_column():
    frame = pl.DataFrame({"colour": ["red", "blue", "red"], "y": [0, 1, 1]})
    assert infer_schema(frame, target="y").describe().splitlines() == [
        "colour  categorical      text, 2 distinct values",
        "y       target (binary)  two values: binary; '1' is positive (by its meaning), 66.7% of rows",
    ]


def test_is_one_line_in_a_console_and_an_escaped_table_in_a_notebook():
    schema = infer_schema(pl.DataFrame({"<x>": ["a&b", "c", "c"], "same": [1, 1, 1], "y": [0, 1, 1]}), target="y")
    assert repr(schema) == "Schema(1 fields, 1 ignored columns, target 'y', binary)"
    assert repr(schema.fields[0]) == "Field('<x>', categorical: text, 2 distinct values)"
    assert "<tr><td>&lt;x&gt;</td><td>categorical</td><td>text, 2 distinct values</td></tr>" in schema._repr_html_()


def test_toml_gives_overrides(tmp_path):
    path = tmp_path / "schema.toml"
    path.write_text('[fields.zip]\nkind = "categorical"\nmin_count = 5\n[fields."a b"]\nparts = ["hour"]\n')
    assert schema_from_toml(path) == {"zip": {"kind": "categorical", "min_count": 5}, "a b": {"parts": ["hour"]}}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[fields.zip\n", InputError, r"must be TOML .*schema\.toml"),
        ("[field.zip]\nkind = 'tags'\n", InputError, r"tables \[fields\.<column>\] only, but it has \['field'\]"),
        ("fields = 3\n", InputError, "only, but it has fields"),
        ("[fields.zip]\nkind = 'zip'\n", SettingError, "field 'zip': kind must be one of"),
        ("[fields.zip]\nbins = 3\n", SettingError, "a setting of field 'zip' must be one of"),
    ],
)
def test_toml_that_breaks_a_rule_is_refused(tmp_path, text, error, message):
    path = tmp_path / "schema.toml"
    path.write_text(text)
    with pytest.raises(error, match=message):
        schema_from_toml(path)


def test_absent_toml_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml"):
        schema_from_toml(tmp_path / "none.toml")


def test_parts_must_not_have_the_name_of_another_field():
    with pytest.raises(SettingError, match=r"distinct names, got twice=\['ts\.hour'\]"):
        Schema(fields=(Field(name="ts", kind="datetime", parts=("hour",)), Field(name="ts.hour")))
