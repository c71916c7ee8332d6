"""Table files: paths and globs, the format of each file, and several files as one table."""

from __future__ import annotations

import base64
import glob
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from anyfm.core.errors import InputError, located
from anyfm.data.csv_reader import read_csv
from anyfm.data.memory import with_dictionaries
from anyfm.data.messages import check_names, input_error
from anyfm.data.text_file import READ_ERRORS, TextFile

log = logging.getLogger(__name__)

FORMATS = ("auto", "csv", "tsv", "parquet", "ipc", "jsonl")
SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".ipc": "ipc",
    ".arrow": "ipc", ".feather": "ipc", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_COMPRESSED = (".gz", ".zst", ".zstd")
_BINARY = {"parquet": "Parquet", "ipc": "Arrow IPC"}


def find_paths(source: Any) -> list[Path]:
    """The files that a path, a glob or a list of them stands for; those of a glob in order of name."""
    paths: list[Path] = []
    for item in [source] if isinstance(source, (str, Path)) else source:
        path = Path(item).expanduser()
        if path.is_dir():
            raise input_error(
                "a table must be a file, but this is a directory",
                file=str(item),
                remedy=f"Give a glob for the files in it, such as {str(path / '*.csv')!r}.",
            )
        is_glob = not path.exists() and glob.has_magic(str(path))
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))] if is_glob else [path]
        files = [path for path in found if path.exists() and not path.is_dir()]
        if not files:
            what = "the pattern matches no file" if is_glob else "the file does not exist"
            raise input_error(what, file=str(item), remedy=f"The working directory is {Path.cwd()}.")
        paths.extend(files)
    return paths


def read_files(paths: list[Path], format: str, columns: Sequence[str] | None, options: dict[str, Any]) -> pl.DataFrame:
    """Several files as one table; `options` are those of text files."""
    frames = [_read_file(path, format, columns, options) for path in paths]
    if len(frames) == 1:
        return frames[0]
    names = frames[0].columns
    for path, frame in zip(paths, frames, strict=True):
        missing = ", ".join(repr(name) for name in names if name not in frame.columns)
        extra = ", ".join(repr(name) for name in frame.columns if name not in names)
        if missing or extra:
            difference = f"lacks {missing}" if missing else f"also has {extra}"
            rule = f"all files must have the columns of {paths[0]}, but this one {difference}"
            raise input_error(rule, file=str(path))
    mixed = [name for name in names if _is_text_in_some(frames, name)]
    if mixed:
        log.warning("text in some of the files and not in others, so read as text in all: %s", ", ".join(mixed))
        options = {**options, "text_columns": {*options["text_columns"], *mixed}}
        frames = [_read_file(path, format, columns, options) for path in paths]
        frames = [frame.with_columns(pl.col(name).cast(pl.String) for name in mixed) for frame in frames]
    try:
        return pl.concat([frame.select(names) for frame in frames], how="vertical_relaxed", rechunk=True)
    except pl.exceptions.PolarsError as problem:
        rule = f"the files {paths[0]} … {paths[-1]} must have columns of the same types"
        raise InputError(f"{rule}, got {problem}") from None


def _is_text_in_some(frames: list[pl.DataFrame], name: str) -> bool:
    types = {frame.schema[name] for frame in frames if frame.schema[name] != pl.Null}
    return len(types) > 1 and pl.String() in types


def _read_file(path: Path, format: str, columns: Sequence[str] | None, options: dict[str, Any]) -> pl.DataFrame:
    if path.stat().st_size == 0:
        raise input_error("a table must not be empty, but the file has no bytes", file=str(path))
    kind = _format_of(path) if format == "auto" else format
    if kind in ("csv", "tsv"):
        return read_csv(path, **{**options, "separator": options["separator"] or ("\t" if kind == "tsv" else None)})
    frame = _read_json_lines(path) if kind == "jsonl" else _read_binary(path, kind, columns)
    return renamed(frame, options["names"], path)


def _read_binary(path: Path, kind: str, columns: Sequence[str] | None) -> pl.DataFrame:
    try:
        if kind == "ipc":
            return pl.read_ipc(path)
        present = None if columns is None else [name for name in pl.read_parquet_schema(path) if name in columns]
        frame = pl.read_parquet(path, columns=present, glob=False)
        return with_dictionaries(frame, _dictionary_columns(path))
    except READ_ERRORS as problem:
        raise input_error(
            f"the file cannot be read as {_BINARY[kind]} ({str(problem).splitlines()[0]})",
            file=str(path),
            remedy="Check that it is complete, and its format; see the option format.",
        ) from None


def _dictionary_columns(path: Path) -> list[str]:
    """The columns of a Parquet file that were written from a dictionary type, by pandas or by Arrow."""
    metadata = pl.read_parquet_metadata(path)
    names: list[str] = []
    try:
        columns = json.loads(metadata.get("pandas", "{}")).get("columns", [])
        names += [str(column["name"]) for column in columns if column["pandas_type"] == "categorical"]
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    if "ARROW:schema" in metadata:
        try:
            import pyarrow as pa

            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata["ARROW:schema"])))
        except (ImportError, ValueError, OSError):
            return names
        names += [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return names


def _read_json_lines(path: Path) -> pl.DataFrame:
    """Read a file of JSON lines, one object per line, plain or compressed."""
    raw = TextFile(path).read()
    try:
        frame = pl.read_ndjson(io.BytesIO(raw), infer_schema_length=None)
    except READ_ERRORS as problem:
        raise InputError(_explain_json(raw, str(path), str(problem))) from None
    if frame.width == 0:
        raise input_error("a table must not be empty", file=str(path))
    return frame


def _explain_json(raw: bytes, path: str, problem: str) -> str:
    """Word what is wrong in a file of JSON lines, and in which line."""
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, UnicodeDecodeError) as fault:
            rule = f"every line must be JSON, but this one is not: {fault}"
            return located(rule, file=path, line=number, value=line[:60])
        if not isinstance(value, dict):
            return located("every line must be a JSON object", file=path, line=number, value=value)
    return located(f"the file cannot be read as JSON lines ({problem.splitlines()[0]})", file=path)


def _format_of(path: Path) -> str:
    """The format of a file, by its first bytes if they tell, otherwise by its name."""
    with path.open("rb") as file:
        start = file.read(64)
    if start[:4] == b"PAR1":
        return "parquet"
    if start[:6] == b"ARROW1" or start[:4] == b"FEA1":
        return "ipc"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    kind = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if kind in _BINARY:
        raise input_error(
            f"the name says {_BINARY[kind]}, but the file does not begin like one",
            file=str(path),
            value=start[:8],
            remedy="Check that it is complete, or give its format with the option format.",
        )
    return kind or ("jsonl" if start.lstrip()[:1] == b"{" else "csv")


def renamed(frame: pl.DataFrame, names: Sequence[str] | None, file: Path | None = None) -> pl.DataFrame:
    """The table with these column names; with its own if there are none."""
    if names is None:
        return frame
    check_names(names, frame.width, file)
    return frame.rename(dict(zip(frame.columns, names, strict=True)))
