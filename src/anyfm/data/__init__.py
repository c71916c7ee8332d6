"""From raw tables to integer-encoded rows: readers, schema inference, field encoders."""

from __future__ import annotations

from anyfm.data.encoder import Encoded, EncodedField, Encoder, read_vocabulary, write_vocabulary
from anyfm.data.encoding_report import EncodingReport, FieldReport
from anyfm.data.readers import Frame, read_table, write_table
from anyfm.data.schema import Field, Schema, Target, schema_from_toml
from anyfm.data.schema_inference import infer_schema

__all__ = [
    "Encoded",
    "EncodedField",
    "Encoder",
    "EncodingReport",
    "Field",
    "FieldReport",
    "Frame",
    "Schema",
    "Target",
    "infer_schema",
    "read_table",
    "read_vocabulary",
    "schema_from_toml",
    "write_table",
    "write_vocabulary",
]
