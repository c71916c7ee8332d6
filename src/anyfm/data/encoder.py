"""The encoder: tables become integer-coded rows, and ids become names again."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import ArtifactError, InputError, SettingError, got, located
from anyfm.core.rows import MAX_FEATURES, Floats, Rows
from anyfm.data.coder import MISSING, UNSEEN, Coded, Coder
from anyfm.data.dates import Clock, Part, unit_of
from anyfm.data.encoding_report import EncodingReport, FieldReport
from anyfm.data.inference import missing_column
from anyfm.data.numeric import Bins, Scaled
from anyfm.data.schema import Field, Schema
from anyfm.data.tags import Tags
from anyfm.data.target import code_target, code_weight
from anyfm.data.values import is_moment, is_text, plain
from anyfm.data.vocabulary import Vocabulary

log = logging.getLogger(__name__)
BLOCK_ROWS = 4096
CODERS: dict[str, Any] = {kind.type: kind for kind in (Vocabulary, Tags, Bins, Scaled, Part)}


@dataclass(frozen=True)
class Encoded:
    """Rows, and what was unseen or missing in them."""

    rows: Rows
    report: EncodingReport


@dataclass(frozen=True)
class EncodedField:
    """One field of the encoded rows: its name, the column it comes from, and its coder."""

    name: str
    column: str
    coder: Coder


class Encoder:
    """Codes tables as `Rows`. Made by `fit` or `fit_encode`; never changes afterwards.

    Attributes
    ----------
    schema : Schema
    fields : tuple of EncodedField
    field_offsets : int64 array of shape (n_fields + 1,)
        Global id = field offset + local id.
    """

    def __init__(self, schema: Schema, fields: tuple[EncodedField, ...]) -> None:
        self.schema = schema
        self.fields = fields
        sizes = [field.coder.n_features for field in fields]
        self.field_offsets: NDArray[np.int64] = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        if self.n_features > MAX_FEATURES:
            raise InputError(
                got(f"there may be at most {MAX_FEATURES:,} features; raise min_count", n_features=self.n_features)
            )
        self._offsets: list[int] = self.field_offsets.tolist()
        self._names = [field.name for field in fields]
        self._is_ragged = any(field.coder.is_ragged for field in fields)
        self._has_values = any(field.coder.has_values for field in fields)

    @property
    def n_fields(self) -> int:
        return len(self.fields)

    @property
    def n_features(self) -> int:
        return int(self.field_offsets[-1])

    @property
    def field_names(self) -> list[str]:
        return list(self._names)

    @property
    def columns(self) -> list[str]:
        """The columns a table to score must have."""
        return list(dict.fromkeys(field.column for field in self.fields))

    @cached_property
    def counts(self) -> NDArray[np.float64]:
        """How often (by row weight) each feature occurred in training, float64 of shape (n_features,)."""
        return np.concatenate([field.coder.counts for field in self.fields])

    @property
    def text_columns(self) -> frozenset[str]:
        """Columns whose values are compared as text, so that a reader must not take "007" for a number."""
        return frozenset(
            field.column
            for field in self.fields
            if getattr(field.coder, "key", getattr(getattr(field.coder, "vocabulary", None), "key", "")) == "text"
        )

    @classmethod
    def fit(cls, frame: pl.DataFrame, schema: Schema, *, weight: NDArray[Any] | pl.Series | None = None) -> Encoder:
        """Learn vocabularies and bins from training rows.

        Parameters
        ----------
        frame : polars DataFrame
        schema : Schema
        weight : array of shape (n_rows,), optional
            Row weights; by default the schema's weight column, or ones. Weight 3 counts as three copies.
        """
        return cls.fit_encode(frame, schema, weight=weight)[0]

    @classmethod
    def fit_encode(
        cls, frame: pl.DataFrame, schema: Schema, *, weight: NDArray[Any] | pl.Series | None = None
    ) -> tuple[Encoder, Encoded]:
        """Learn from training rows and encode them, in one pass."""
        _check_columns(frame, [field.name for field in schema.used], schema, labelled=schema.target is not None)
        if frame.height == 0:
            raise InputError("a table to learn from must have at least one row, but it has none")
        y, row_weight = _labels(frame, schema, weight)
        mass = None if row_weight is None else pl.Series("weight", row_weight).cast(pl.Float64)
        fields: list[EncodedField] = []
        coded: list[Coded] = []
        for field in schema.used:
            for name, coder, codes in _fit_field(frame[field.name], field, mass):
                fields.append(EncodedField(name, field.name, coder))
                coded.append(codes)
        encoder = cls(schema, tuple(fields))
        encoded = encoder._assemble(frame.height, coded, y, row_weight)
        log.info("encoder fitted: %s rows, %s fields, %s features", frame.height, encoder.n_fields, encoder.n_features)
        return encoder, encoded

    def encode(self, frame: pl.DataFrame, *, labelled: bool = False) -> Encoded:
        """Code a table. Extra columns and their order do not matter, and neither does how rows are cut into chunks.

        Parameters
        ----------
        frame : polars DataFrame
        labelled : bool
            Whether to code the target and, where the table has it, the weight column.

        Raises
        ------
        InputError
            A column is missing, or a target or weight cannot be used.
        """
        if labelled and self.schema.target is None:
            raise InputError("the schema has no target, but labelled rows were asked for")
        _check_columns(frame, self.columns, self.schema, labelled=labelled)
        y, weight = _labels(frame, self.schema, None) if labelled else (None, None)
        coded = [field.coder.encode(frame[field.column]) for field in self.fields]
        encoded = self._assemble(frame.height, coded, y, weight)
        encoded.report.log(log)
        return encoded

    def _assemble(self, n_rows: int, coded: list[Coded], y: Floats | None, weight: Floats | None) -> Encoded:
        report = EncodingReport(n_rows, tuple(map(_field_report, self.fields, coded)))
        rows = self._ragged(n_rows, coded) if self._is_ragged else self._fixed(n_rows, coded)
        if y is not None or weight is not None:
            rows = Rows(ids=rows.ids, offsets=rows.offsets, values=rows.values, fields=rows.fields, y=y, weight=weight)
        return Encoded(rows, report)

    def _fixed(self, n_rows: int, coded: list[Coded]) -> Rows:
        ids = np.empty((n_rows, self.n_fields), np.int32)
        values = np.ones(ids.shape, np.float32) if self._has_values else None
        for start in range(0, n_rows, BLOCK_ROWS):  # a block stays in the cache while its columns are filled in
            block = slice(start, start + BLOCK_ROWS)
            for slot, codes in enumerate(coded):
                np.add(codes.ids[block], np.int32(self._offsets[slot]), out=ids[block, slot])
                if values is not None and codes.values is not None:
                    values[block, slot] = codes.values[block]
        return Rows(ids=ids, values=values)

    def _ragged(self, n_rows: int, coded: list[Coded]) -> Rows:
        lengths = np.zeros(n_rows, np.int64)
        for codes in coded:
            lengths += 1 if codes.lengths is None else codes.lengths
        offsets = np.zeros(n_rows + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        ids = np.empty(offsets[-1], np.int32)
        values = np.ones(offsets[-1], np.float32)
        fields = np.empty(offsets[-1], np.int32)
        start = offsets[:-1].copy()
        for slot, codes in enumerate(coded):
            if codes.lengths is None:
                place = start.copy()
                start += 1
            else:
                within = np.arange(len(codes.ids)) - np.repeat(np.cumsum(codes.lengths) - codes.lengths, codes.lengths)
                place = np.repeat(start, codes.lengths) + within
                start += codes.lengths
            ids[place] = codes.ids + np.int32(self._offsets[slot])
            fields[place] = slot
            if codes.values is not None:
                values[place] = codes.values
        return Rows(ids=ids, offsets=offsets, values=values, fields=fields)

    def encode_one(self, row: Mapping[str, Any]) -> Rows:
        """Code one row given as column → value, in tens of microseconds. None is missing; an absent key is an error."""
        try:
            coded = [(field.coder, offset, field.coder.encode_one(row[field.column])) for field, offset in self._plan]
        except KeyError:
            absent = [name for name in self.columns if name not in row]
            if not absent:
                raise
            raise InputError(
                located(
                    "a row must have a value for every column",
                    column=absent[0] if len(absent) == 1 else None,
                    value=None if len(absent) == 1 else absent,
                    remedy="Give None for a value that is missing.",
                )
            ) from None
        if not self._has_values:
            return Rows(ids=np.array([[offset + code for _, offset, code in coded]], np.int32))
        return self._one_with_values(coded)

    @cached_property
    def _plan(self) -> list[tuple[EncodedField, int]]:
        return list(zip(self.fields, self._offsets[:-1], strict=True))

    def _one_with_values(self, coded: list[tuple[Coder, int, Any]]) -> Rows:
        ids: list[int] = []
        values: list[float] = []
        fields: list[int] = []
        for slot, (coder, offset, code) in enumerate(coded):
            if coder.is_ragged:
                ids.extend(offset + local for local in code[0])
                values.extend(code[1])
                fields.extend([slot] * len(code[0]))
                continue
            local, value = code if coder.has_values else (code, 1.0)
            ids.append(offset + local)
            values.append(value)
            fields.append(slot)
        if not self._is_ragged:
            return Rows(ids=np.array([ids], np.int32), values=np.array([values], np.float32))
        return Rows(
            ids=np.array(ids, np.int32),
            offsets=np.array([0, len(ids)], np.int64),
            values=np.array(values, np.float32),
            fields=np.array(fields, np.int32),
        )

    def feature(self, global_id: int) -> tuple[str, Any]:
        """The name of a feature's field, and its value."""
        if not 0 <= global_id < self.n_features:
            raise SettingError(got(f"a feature id must lie in 0 … {self.n_features - 1}", global_id=global_id))
        slot = bisect_right(self._offsets, global_id) - 1
        return self._names[slot], self.field_values(slot)[global_id - self._offsets[slot]]

    def field_values(self, field: int | str) -> list[Any]:
        """What each local id of a field stands for: <unseen>, <missing>, then values or intervals."""
        if isinstance(field, str):
            if field not in self._names:
                raise SettingError(got(f"a field must be one of {', '.join(self._names)}", field=field))
            field = self._names.index(field)
        if field not in self._labels:
            self._labels[field] = self.fields[field].coder.labels()
        return self._labels[field]

    @cached_property
    def _labels(self) -> dict[int, list[Any]]:
        return {}

    def to_dict(self) -> dict[str, Any]:
        """All but the vocabularies, ready for JSON."""
        fields = [{"name": f.name, "column": f.column, **f.coder.to_dict()} for f in self.fields]
        return {"schema": self.schema.to_dict(), "fields": fields}

    def vocabulary_frame(self) -> pl.DataFrame:
        """Every feature: field (Int32, its place), local_id (Int32), value (text), count (Float64), in order of id."""
        frames = [
            pl.DataFrame(
                {
                    "field": np.full(field.coder.n_features, slot, np.int32),
                    "local_id": np.arange(field.coder.n_features, dtype=np.int32),
                    "value": field.coder.texts(),
                    "count": field.coder.counts.astype(np.float64),
                }
            )
            for slot, field in enumerate(self.fields)
        ]
        return pl.concat(frames)

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any], vocabulary: pl.DataFrame) -> Encoder:
        """Put together again from `to_dict` and `vocabulary_frame`.

        Raises
        ------
        ArtifactError
            The parts do not belong together.
        """
        try:
            groups = vocabulary.partition_by("field", maintain_order=True)
            if len(groups) != len(parts["fields"]):
                raise ArtifactError(got("a vocabulary must have as many fields as its encoder", n=len(groups)))
            fields = tuple(
                EncodedField(
                    one["name"],
                    one["column"],
                    CODERS[one["type"]].from_parts(one, group["value"], group["count"].to_numpy().copy()),
                )
                for one, group in zip(parts["fields"], groups, strict=True)
            )
            return cls(Schema.from_dict(parts["schema"]), fields)
        except (KeyError, TypeError, SettingError, pl.exceptions.PolarsError) as problem:
            raise ArtifactError(f"the saved encoder cannot be read: {problem!r}") from problem


def _fit_field(series: pl.Series, field: Field, mass: pl.Series | None) -> list[tuple[str, Coder, Coded]]:
    """The coders of one schema field, fitted, each with the codes of the column."""
    name, n_bins, min_count = field.name, field.n_bins, field.min_count
    if field.kind in ("categorical", "boolean"):
        key = "bool" if field.kind == "boolean" else None
        return [(name, *Vocabulary.fit(series, min_count=min_count, weight=mass, key=key))]
    if field.kind == "tags":
        return [(name, *Tags.fit(series, separator=field.separator, min_count=min_count, weight=mass))]
    if field.kind == "scaled":
        return [(name, *Scaled.fit(series, weight=mass))]
    if field.kind in ("numeric", "log"):
        return [(name, *Bins.fit(series, n_bins=n_bins, log=field.kind == "log", min_count=min_count, weight=mass))]
    bare = plain(series)
    clock = Clock("s" if is_moment(bare) or is_text(bare) else unit_of(bare))
    if not field.parts:
        return [(name, *Bins.fit(series, n_bins=n_bins, weight=mass, clock=clock))]
    fitted = (Part.fit(series, part=part, clock=clock, min_count=min_count, weight=mass) for part in field.parts)
    return [(f"{name}.{part}", *one) for part, one in zip(field.parts, fitted, strict=True)]


def _field_report(field: EncodedField, coded: Coded) -> FieldReport:
    low = np.bincount(coded.ids[coded.ids <= MISSING], minlength=2)
    return FieldReport(field.name, n_unseen=int(low[UNSEEN]), n_missing=int(low[MISSING]), n_entries=len(coded.ids))


def _check_columns(frame: pl.DataFrame, needed: list[str], schema: Schema, *, labelled: bool) -> None:
    present = set(frame.columns)
    absent = [name for name in needed if name not in present]
    if len(absent) == 1:
        raise InputError(missing_column("field", absent[0], frame.columns))
    if absent:
        raise InputError(
            f"every column of the schema must be in the table, but it lacks {', '.join(map(repr, absent))}. "
            f"The table has {', '.join(map(repr, frame.columns[:20]))}{', …' if len(frame.columns) > 20 else ''}"
        )
    if labelled and schema.target is not None and schema.target.name not in present:
        raise InputError(missing_column("target", schema.target.name, frame.columns))


def _labels(frame: pl.DataFrame, schema: Schema, weight: Any) -> tuple[Floats | None, Floats | None]:
    y = None if schema.target is None else code_target(frame[schema.target.name], schema.target)
    if weight is not None:
        series = weight if isinstance(weight, pl.Series) else pl.Series("weight", np.asarray(weight))
        if len(series) != frame.height:
            raise InputError(got("weight must have one entry a row", n_weights=len(series), n_rows=frame.height))
        return y, code_weight(series)
    if schema.weight is None:
        return y, None
    if schema.weight not in frame.columns:
        raise InputError(missing_column("weight", schema.weight, frame.columns))
    return y, code_weight(frame[schema.weight])


def write_vocabulary(encoder: Encoder, path: str | Path) -> None:
    """Write every feature with its value and count as Parquet (zstd); the same encoder gives the same bytes."""
    encoder.vocabulary_frame().write_parquet(path, compression="zstd", statistics=False)


def read_vocabulary(path: str | Path) -> pl.DataFrame:
    """Read what `write_vocabulary` wrote.

    Raises
    ------
    ArtifactError
        The file is absent, damaged, or holds other columns.
    """
    try:
        frame = pl.read_parquet(path, columns=["field", "local_id", "value", "count"], glob=False)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise ArtifactError(located(f"the vocabulary cannot be read: {problem}", file=str(path))) from None
    expected = {"field": pl.Int32, "local_id": pl.Int32, "value": pl.String, "count": pl.Float64}
    if dict(frame.schema) != expected:
        raise ArtifactError(located(f"the vocabulary has other columns than {', '.join(expected)}", file=str(path)))
    return frame
