"""The encoder of tables: rows become integer feature ids, and ids become names again."""

from __future__ import annotations

import datetime
import io
import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from anyfm.core.errors import ArtifactError, InputError, SettingError, got, located
from anyfm.core.forks import check_polars, has_lost_polars
from anyfm.core.rows import MAX_FEATURES, Floats, Ids, Rows, Targets
from anyfm.data.categorical import CategoricalEncoder
from anyfm.data.cleaning import Cleaner
from anyfm.data.dates import DatePartEncoder, datetimes_of, epoch_unit, numbers_of
from anyfm.data.encoding_report import EncodingReport, FieldReport
from anyfm.data.field_encoder import MISSING, UNSEEN, EncodedColumn, FieldEncoder, encode_distinct
from anyfm.data.messages import check_choice, input_error, listed, missing_column
from anyfm.data.numeric import BinEncoder, ScaledEncoder
from anyfm.data.schema import Field, Schema
from anyfm.data.tags import TagsEncoder
from anyfm.data.target import encode_target, encode_weight
from anyfm.data.values import as_basic, as_keys, is_datetime, is_list, is_text, missing_mask, plain_value

log = logging.getLogger(__name__)
BLOCK_ROWS = 4096
_SMALL_WEIGHT = 0.2
_SCALARS = frozenset({str, int, float, bool, datetime.datetime, datetime.date, NoneType})
_PLAIN = _SCALARS | {list, tuple}
_FIELD_ENCODERS: dict[str, type[FieldEncoder]] = {
    kind.type: kind for kind in (CategoricalEncoder, TagsEncoder, BinEncoder, ScaledEncoder, DatePartEncoder)
}


@dataclass(frozen=True, repr=False)
class Encoded:
    """Rows, and how many of their values were unseen or missing."""

    rows: Rows
    report: EncodingReport

    def __repr__(self) -> str:
        return f"Encoded({self.rows.n_rows:,} rows, {self.rows.n_entries:,} entries, {self.report!r})"


@dataclass(frozen=True)
class EncodedField:
    """One field of the encoded rows: its name, the column it comes from, what cleans the values, and its encoder."""

    name: str
    column: str
    encoder: FieldEncoder
    cleaner: Cleaner | None = None

    def encode(self, series: pl.Series) -> EncodedColumn:
        """The local ids of a raw column."""
        if has_lost_polars():
            return self.encode_values(series.to_list())
        return self.encoder.encode(series if self.cleaner is None else self.cleaner.column(series))

    def encode_values(self, values: list[Any]) -> EncodedColumn:
        """Raw values, encoded as by `encode_one`."""
        if not set(map(type, values)) <= _SCALARS:
            values = [self._plain(value) for value in values]
        if self.cleaner is not None:
            values = encode_distinct(self.cleaner.value, values)
        return self.encoder.encode_values(values)

    def encode_one(self, value: Any) -> Any:
        """One raw value, encoded as by `FieldEncoder.encode_one`."""
        if type(value) not in _SCALARS:
            value = self._plain(value)
        return self.encoder.encode_one(value if self.cleaner is None else self.cleaner.value(value))

    def _plain(self, value: Any) -> Any:
        """A value of NumPy and the like as a plain one; InputError for what no column may hold."""
        if type(value) not in _PLAIN:
            value = plain_value(value)
        if isinstance(value, (list, tuple)):
            value = [item if type(item) in _SCALARS else plain_value(item) for item in value]
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, (Mapping, bytes, list, tuple)):
                rule = "a value must be a number, text, a boolean, a date or None, or for tags a list of them"
                raise input_error(rule, column=self.column, value=value)
        return value


class Encoder:
    """Encodes tables as `Rows`. Created by `fit` or `fit_encode`; never changes afterwards.

    Attributes
    ----------
    schema : Schema
    fields : tuple of EncodedField
    field_names : list of str
    field_offsets : int64 array of shape (n_fields + 1,)
        Global id = field offset + local id.
    """

    def __init__(self, schema: Schema, fields: tuple[EncodedField, ...]) -> None:
        self.schema = schema
        self.fields = fields
        self.field_names = [field.name for field in fields]
        self.field_offsets: NDArray[np.int64] = np.zeros(len(fields) + 1, np.int64)
        np.cumsum([field.encoder.n_features for field in fields], out=self.field_offsets[1:])
        if self.n_features > MAX_FEATURES:
            raise InputError(
                got(f"there may be at most {MAX_FEATURES:,} features; raise min_count", n_features=self.n_features)
            )
        self._offsets: list[int] = self.field_offsets.tolist()
        self._labels: dict[int, list[Any]] = {}
        self._is_ragged = any(field.encoder.is_ragged for field in fields)
        self._has_values = any(field.encoder.has_values for field in fields)

    def __repr__(self) -> str:
        return f"Encoder(n_fields={self.n_fields}, n_features={self.n_features})"

    @property
    def n_fields(self) -> int:
        return len(self.fields)

    @property
    def n_features(self) -> int:
        return int(self.field_offsets[-1])

    @property
    def columns(self) -> list[str]:
        """The columns a table to score must have."""
        return list(dict.fromkeys(field.column for field in self.fields))

    @cached_property
    def counts(self) -> NDArray[np.float64]:
        """How often (by row weight) each feature occurred in training, float64 of shape (n_features,)."""
        return np.concatenate([field.encoder.counts for field in self.fields])

    @property
    def value_types(self) -> dict[str, str]:
        """What the raw values of each column are, see `FieldEncoder.value_type`; "text" where a format says how they
        are written."""
        found: dict[str, str] = {}
        for field in self.fields:
            found.setdefault(field.column, field.encoder.value_type if field.cleaner is None else "text")
        return found

    @property
    def text_columns(self) -> frozenset[str]:
        """Columns whose values are compared as text, so that a reader must not take "007" for a number."""
        return frozenset(field.column for field in self.fields if field.encoder.key_type == "text")

    @classmethod
    def fit(cls, frame: pl.DataFrame, schema: Schema, *, weight: NDArray[Any] | pl.Series | None = None) -> Encoder:
        """Learn categories and bins from training rows.

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
        check_polars("learning from a table")
        _check_columns(frame, [field.name for field in schema.used], schema, labelled=schema.target is not None)
        if frame.height == 0:
            raise InputError("a table to learn from must have at least one row, but it has none")
        y, row_weight = _labels(frame, schema, weight, fitting=True)
        if row_weight is not None and row_weight[row_weight > 0].mean(dtype=np.float64) < _SMALL_WEIGHT:
            mean = float(row_weight[row_weight > 0].mean(dtype=np.float64))
            log.warning(
                "row weights count as copies of a row, and their mean is %.3g: most values count as rare. "
                "Divide the weights by their mean",
                mean,
            )
        weights = None if row_weight is None else pl.Series("weight", row_weight).cast(pl.Float64)
        fields: list[EncodedField] = []
        columns: list[EncodedColumn] = []
        for field in schema.used:
            cleaner = Cleaner.of(field)
            series = frame[field.name] if cleaner is None else cleaner.column(frame[field.name])
            _check_readable(frame[field.name], series, field)
            for name, field_encoder, column in _fit_field(series, field, weights):
                fields.append(EncodedField(name, field.name, field_encoder, cleaner))
                columns.append(column)
        encoder = cls(schema, tuple(fields))
        encoded = encoder._assemble(frame.height, columns, y, row_weight)
        log.info("encoder fitted: %s rows, %s fields, %s features", frame.height, encoder.n_fields, encoder.n_features)
        return encoder, encoded

    def encode(self, frame: pl.DataFrame, *, labelled: bool = False) -> Encoded:
        """Encode a table. Extra columns, the order of columns and how rows are cut into chunks do not matter.

        Parameters
        ----------
        frame : polars DataFrame
        labelled : bool
            Whether to encode the target and, if the table has it, the weight column.

        Raises
        ------
        InputError
            A column is missing, or a target or weight cannot be used.
        """
        if labelled and self.schema.target is None:
            raise InputError("the schema has no target, but labelled rows were asked for")
        if labelled:
            check_polars("reading targets")
        _check_columns(frame, self.columns, self.schema, labelled=labelled)
        y, weight = _labels(frame, self.schema, None) if labelled else (None, None)
        columns = [field.encode(frame[field.column]) for field in self.fields]
        encoded = self._assemble(frame.height, columns, y, weight)
        encoded.report.log(log)
        return encoded

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> Encoded:
        """Encode rows, each a mapping of column to value, as `encode_one` does, faster for many.

        Raises
        ------
        KeyError
            A row lacks a column.
        InputError
            A value cannot be read.
        """
        lists = {name: [row[name] for row in rows] for name in self.columns}
        columns = [field.encode_values(lists[field.column]) for field in self.fields]
        return self._assemble(len(rows), columns, None, None)

    def _assemble(self, n_rows: int, columns: list[EncodedColumn], y: Targets | None, weight: Floats | None) -> Encoded:
        report = EncodingReport(n_rows, tuple(map(_field_report, self.fields, columns)))
        arrays = self._ragged(n_rows, columns) if self._is_ragged else self._fixed_width(n_rows, columns)
        return Encoded(Rows(**arrays, y=y, weight=weight), report)

    def _fixed_width(self, n_rows: int, columns: list[EncodedColumn]) -> dict[str, Any]:
        ids = np.empty((n_rows, self.n_fields), np.int32)
        values = np.ones(ids.shape, np.float32) if self._has_values else None
        for start in range(0, n_rows, BLOCK_ROWS):  # a block stays in the cache while its columns are filled in
            block = slice(start, start + BLOCK_ROWS)
            for slot, column in enumerate(columns):
                np.add(column.ids[block], np.int32(self._offsets[slot]), out=ids[block, slot])
                if values is not None and column.values is not None:
                    values[block, slot] = column.values[block]
        return {"ids": ids, "values": values}

    def _ragged(self, n_rows: int, columns: list[EncodedColumn]) -> dict[str, Any]:
        one_each = np.ones(n_rows, np.int64)
        lengths = [one_each if column.lengths is None else column.lengths for column in columns]
        offsets = np.zeros(n_rows + 1, np.int64)
        np.cumsum(sum(lengths), out=offsets[1:])
        ids = np.empty(offsets[-1], np.int32)
        values = np.ones(offsets[-1], np.float32)
        fields = np.empty(offsets[-1], np.int32)
        start = offsets[:-1].copy()  # where the next field's entries of each row begin
        for slot, (column, length) in enumerate(zip(columns, lengths, strict=True)):
            first_entry = np.cumsum(length) - length
            place = np.arange(len(column.ids)) + np.repeat(start - first_entry, length)
            start += length
            ids[place] = column.ids + np.int32(self._offsets[slot])
            fields[place] = slot
            if column.values is not None:
                values[place] = column.values
        return {"ids": ids, "offsets": offsets, "values": values, "fields": fields}

    def encode_one(self, row: Mapping[str, Any]) -> Rows:
        """Encode one row, column → value, in tens of microseconds. None is missing; an absent key is an error."""
        ids, values, fields = self.entries_of(row)
        if fields is not None:
            return Rows(ids=ids, offsets=np.array([0, len(ids)], np.int64), values=values, fields=fields)
        return Rows(ids=ids[None], values=None if values is None else values[None])

    def entries_of(self, row: Mapping[str, Any]) -> tuple[Ids, Floats | None, NDArray[np.int32] | None]:
        """The entries of one row as `encode_one` has them: ids, values and, in ragged rows, fields, each (n,)."""
        try:
            encoded = [field.encode_one(row[field.column]) for field in self.fields]
        except KeyError:
            absent = [name for name in self.columns if name not in row]
            if not absent:
                raise
            raise input_error(
                "a row must have a value for every column",
                column=absent[0] if len(absent) == 1 else None,
                value=None if len(absent) == 1 else absent,
                remedy="Give None for a value that is missing.",
            ) from None
        offsets = self._offsets
        if not self._has_values:
            return np.array([offsets[slot] + local for slot, local in enumerate(encoded)], np.int32), None, None
        ids: list[int] = []
        values: list[float] = []
        fields: list[int] = []
        for slot, (field, entry) in enumerate(zip(self.fields, encoded, strict=True)):
            local: Any
            value: Any
            local, value = entry if field.encoder.has_values else (entry, 1.0)
            if not field.encoder.is_ragged:
                local, value = [local], [value]
            ids.extend(offsets[slot] + i for i in local)
            values.extend(value)
            fields.extend([slot] * len(local))
        stated = np.array(fields, np.int32) if self._is_ragged else None
        return np.array(ids, np.int32), np.array(values, np.float32), stated

    def time_ranges(self, frame: pl.DataFrame) -> dict[str, tuple[str, str]]:
        """The first and the last moment in each column of dates and times, as text (UTC); without columns of none."""
        found = {}
        for field in self.fields:
            unit = getattr(field.encoder, "unit", "")
            if unit and field.column not in found:
                series = frame[field.column]
                moments = datetimes_of(series if field.cleaner is None else field.cleaner.column(series), unit)
                first, last = moments.min(), moments.max()
                if isinstance(first, datetime.datetime) and isinstance(last, datetime.datetime):
                    found[field.column] = (first.isoformat(sep=" "), last.isoformat(sep=" "))
        return found

    def feature(self, global_id: int) -> tuple[str, Any]:
        """The name of a feature's field, and its value."""
        if not 0 <= global_id < self.n_features:
            raise SettingError(got(f"a feature id must lie in 0 … {self.n_features - 1}", global_id=global_id))
        slot = bisect_right(self._offsets, global_id) - 1
        return self.field_names[slot], self.field_values(slot)[global_id - self._offsets[slot]]

    def field_values(self, field: int | str) -> list[Any]:
        """What each local id of a field stands for: <unseen>, <missing>, then values or intervals."""
        if isinstance(field, str):
            check_choice("field", field, self.field_names, what="a field")
            field = self.field_names.index(field)
        if field not in self._labels:
            self._labels[field] = self.fields[field].encoder.labels()
        return self._labels[field]

    def to_dict(self) -> dict[str, Any]:
        """All but the vocabulary, ready for JSON."""
        fields = [{"name": f.name, "column": f.column, **f.encoder.to_dict()} for f in self.fields]
        return {"schema": self.schema.to_dict(), "fields": fields}

    def vocabulary_frame(self) -> pl.DataFrame:
        """Every feature in order of id: the position of its field, its local id, its value as text, its count."""
        return pl.concat(
            pl.DataFrame(
                {
                    "field": np.full(field.encoder.n_features, slot, np.int32),
                    "local_id": np.arange(field.encoder.n_features, dtype=np.int32),
                    "value": field.encoder.texts(),
                    "count": field.encoder.counts,
                }
            )
            for slot, field in enumerate(self.fields)
        )

    @classmethod
    def from_parts(cls, saved: Mapping[str, Any], vocabulary: pl.DataFrame) -> Encoder:
        """Restore an encoder from `to_dict` and `vocabulary_frame`.

        Raises
        ------
        ArtifactError
            The parts do not belong together.
        """
        try:
            groups = vocabulary.partition_by("field", maintain_order=True)
            if len(groups) != len(saved["fields"]):
                raise ArtifactError(got("a vocabulary must have as many fields as its encoder", n=len(groups)))
            fields = []
            schema = Schema.from_dict(saved["schema"])
            cleaners = {field.name: Cleaner.of(field) for field in schema.fields}
            for field, group in zip(saved["fields"], groups, strict=True):
                counts = group["count"].to_numpy().copy()
                encoder = _FIELD_ENCODERS[field["type"]].from_dict(field, group["value"], counts)
                column = field["column"]
                fields.append(EncodedField(field["name"], column, encoder, cleaners[column]))
            return cls(schema, tuple(fields))
        except (KeyError, TypeError, SettingError, pl.exceptions.PolarsError) as problem:
            raise ArtifactError(f"the saved encoder cannot be read: {problem!r}") from problem


def _fit_field(
    series: pl.Series, field: Field, weight: pl.Series | None
) -> list[tuple[str, FieldEncoder, EncodedColumn]]:
    """The fitted encoders of one schema field, each with its name and the encoded column."""
    name, n_bins, min_count = field.name, field.n_bins, field.min_count
    if field.kind in ("categorical", "boolean"):
        key_type = "bool" if field.kind == "boolean" else None
        return [(name, *CategoricalEncoder.fit(series, min_count=min_count, weight=weight, key_type=key_type))]
    if field.kind == "tags":
        return [(name, *TagsEncoder.fit(series, separator=field.separator, min_count=min_count, weight=weight))]
    if field.kind == "scaled":
        return [(name, *ScaledEncoder.fit(series, weight=weight))]
    if field.kind in ("numeric", "log"):
        is_log = field.kind == "log"
        return [(name, *BinEncoder.fit(series, n_bins=n_bins, log=is_log, min_count=min_count, weight=weight))]
    basic = as_basic(series)
    unit = "s" if is_datetime(basic) else epoch_unit(basic)
    if not field.parts:
        return [(name, *BinEncoder.fit(series, n_bins=n_bins, weight=weight, unit=unit))]
    return [
        (f"{name}.{part}", *DatePartEncoder.fit(series, part=part, unit=unit, min_count=min_count, weight=weight))
        for part in field.parts
    ]


def _check_readable(raw: pl.Series, series: pl.Series, field: Field) -> None:
    """Raise InputError if more than half of a column are not of the kind that it is to be."""
    if field.kind not in ("numeric", "scaled", "log", "datetime", "boolean") or is_list(series):
        return
    basic = as_basic(series)
    present = ~missing_mask(basic)
    if field.kind == "boolean":
        unreadable = present & as_keys(basic, "bool").is_null().to_numpy()
    elif is_text(basic):
        unreadable = present & np.isnan(numbers_of(basic, "s" if field.kind == "datetime" else ""))
    else:
        return
    n_unreadable, n_present = int(unreadable.sum()), int(present.sum())
    if n_unreadable > 0.5 * n_present:
        row = int(np.argmax(unreadable))
        options = "datetime:dmy, datetime:mdy" if field.kind == "datetime" else "categorical, numeric:decimal_comma"
        raise input_error(
            f"a field of kind {field.kind} must hold such values, but {n_unreadable:,} of {n_present:,} cannot be read "
            "so; the first",
            row=row + 1,
            column=field.name,
            value=raw[row],
            remedy=f"Give it another kind or format, such as {options}.",
        )


def _field_report(field: EncodedField, column: EncodedColumn) -> FieldReport:
    counts = np.bincount(column.ids[column.ids <= MISSING], minlength=2)
    n_unseen, n_missing = int(counts[UNSEEN]), int(counts[MISSING])
    return FieldReport(field.name, n_unseen=n_unseen, n_missing=n_missing, n_entries=len(column.ids))


def _check_columns(frame: pl.DataFrame, needed: list[str], schema: Schema, *, labelled: bool) -> None:
    present = set(frame.columns)
    absent = [name for name in needed if name not in present]
    if len(absent) == 1:
        raise missing_column("field", absent[0], frame.columns)
    if absent:
        raise InputError(
            f"every column of the schema must be in the table, but it lacks {', '.join(map(repr, absent))}. "
            f"The table has {listed(frame.columns)}"
        )
    if labelled and schema.target is not None and schema.target.name not in present:
        raise missing_column("target", schema.target.name, frame.columns)


def _labels(
    frame: pl.DataFrame, schema: Schema, weight: Any, *, fitting: bool = False
) -> tuple[Targets | None, Floats | None]:
    """Target and row weights of a table; `weight` replaces the weight column, which only training needs."""
    y = None if schema.target is None else encode_target(frame[schema.target.name], schema.target)
    if weight is not None:
        series = weight if isinstance(weight, pl.Series) else pl.Series("weight", np.asarray(weight))
        if len(series) != frame.height:
            raise InputError(got("weight must have one entry per row", n_weights=len(series), n_rows=frame.height))
        return y, encode_weight(series)
    if schema.weight is None:
        return y, None
    if schema.weight not in frame.columns:
        if fitting:
            raise missing_column("weight", schema.weight, frame.columns)
        log.warning("the table has no weight column %r: every row has weight 1", schema.weight)
        return y, None
    return y, encode_weight(frame[schema.weight])


def write_vocabulary(encoder: Encoder, file: BinaryIO) -> None:
    """Write every feature with its value and count as Parquet (zstd); the same encoder gives the same bytes."""
    check_polars("saving a model of tables")
    encoder.vocabulary_frame().write_parquet(file, compression="zstd", statistics=False)


def read_vocabulary(content: bytes, *, file: str, n_features: int | None = None) -> pl.DataFrame:
    """Read what `write_vocabulary` wrote; `file` is its name for errors.

    Nothing is unpacked unless it says to hold `n_features` rows, since a few bytes can stand for billions.

    Raises
    ------
    ArtifactError
        It is damaged, or holds other columns.
    """
    check_polars("loading a model of tables")
    try:
        n_rows = pl.scan_parquet(io.BytesIO(content), glob=False).select(pl.len()).collect().item()
        if n_features is not None and n_rows != n_features:
            raise ArtifactError(located(f"the vocabulary must have {n_features:,} rows, not {n_rows:,}", file=file))
        frame = pl.read_parquet(io.BytesIO(content), columns=["field", "local_id", "value", "count"], glob=False)
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise ArtifactError(located(f"the vocabulary cannot be read: {problem}", file=file)) from None
    expected = {"field": pl.Int32, "local_id": pl.Int32, "value": pl.String, "count": pl.Float64}
    if dict(frame.schema) != expected:
        raise ArtifactError(located(f"the vocabulary has other columns than {', '.join(expected)}", file=file))
    return frame
