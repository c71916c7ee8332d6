"""Raw tables become integer-coded rows: reading, schema, vocabularies, bins, encoder."""

from __future__ import annotations

from anyfm.data.encoder import Encoded, EncodedField, Encoder, read_vocabulary, write_vocabulary
from anyfm.data.encoding_report import EncodingReport, FieldReport
from anyfm.data.inference import infer_schema
from anyfm.data.readers import Frame, read_table, write_table
from anyfm.data.schema import Field, Schema, Target, schema_from_toml

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
