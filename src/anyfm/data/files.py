"""Table files: paths and globs, the format of each file, and several files as one table."""

from __future__ import annotations

import atexit
import base64
import glob
import io
import json
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from anyfm.core.errors import InputError, MissingDependencyError, located
from anyfm.data.csv_reader import read_csv
from anyfm.data.memory import with_dictionaries
from anyfm.data.messages import check_names, input_error
from anyfm.data.text_file import COMPRESSIONS, READ_ERRORS, TextFile

log = logging.getLogger(__name__)

FORMATS = ("auto", "csv", "tsv", "parquet", "ipc", "jsonl", "xlsx")
SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".ipc": "ipc",
    ".arrow": "ipc", ".feather": "ipc", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".xlsx": "xlsx", ".xlsm": "xlsx",
}  # fmt: skip
_COMPRESSED = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".zip")
_PARTITION = re.compile(r"([A-Za-z_]\w*)=(.*)")
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_ARRAY = re.compile(rb"\s*\[\s*[{\]]")
_BINARY = {"parquet": "Parquet", "ipc": "Arrow IPC"}


def find_paths(source: Any) -> list[Path]:
    """The files that a path, a glob, a directory or a list of them stands for; those of a glob in order of name.

    "-" is standard input. It is copied to a temporary file first, and so is every other pipe.
    """
    paths: list[Path] = []
    for item in [source] if isinstance(source, (str, Path)) else source:
        path = Path(item).expanduser()
        if str(item) == "-" or _is_pipe(path):
            paths.append(_spooled(path))
            continue
        if path.is_dir():
            paths.extend(_tables_within(path))
            continue
        is_glob = not path.exists() and glob.has_magic(str(path))
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))] if is_glob else [path]
        files = [path for path in found if path.exists() and not path.is_dir()]
        if not files:
            what = "the pattern matches no file" if is_glob else "the file does not exist"
            raise input_error(what, file=str(item), remedy=f"The working directory is {Path.cwd()}.")
        paths.extend(files)
    return paths


def _tables_within(directory: Path) -> list[Path]:
    """The table files below a directory in order of name, without those that begin with "." or "_"."""
    files = [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        and _suffix_kind(path) is not None
        and not any(part.startswith((".", "_")) for part in path.relative_to(directory).parts)
    ]
    if not files:
        raise input_error(
            "a table must be a file, but this is a directory without tables",
            file=str(directory),
            remedy=f"Give a glob for the files in it, such as {str(directory / '*.csv')!r}.",
        )
    return files


def _is_pipe(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _spooled(path: Path) -> Path:
    """A copy of what a pipe holds, as a file that is removed when this process ends."""
    with tempfile.NamedTemporaryFile(prefix="anyfm-", delete=False) as copy:
        atexit.register(Path(copy.name).unlink, missing_ok=True)
        if str(path) == "-":
            shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            with path.open("rb") as pipe:
                shutil.copyfileobj(pipe, copy)
    return Path(copy.name)


def partitions(source: Any, path: Path) -> dict[str, str | None]:
    """The columns that the directories of a file name, day=2024-01-31, below the directory or within the glob given."""
    parts: tuple[str, ...] = ()
    for item in [source] if isinstance(source, (str, Path)) else source:
        root = Path(item).expanduser()
        if root.is_dir() and path.is_relative_to(root):
            parts = path.relative_to(root).parts[:-1]
        elif glob.has_magic(str(item)):
            parts = path.parts[:-1]
    found = [match.groups() for part in parts if (match := _PARTITION.fullmatch(part))]
    return {name: None if value == _NO_PARTITION else unquote(value) for name, value in found}


def with_partitions(frame: pl.DataFrame, columns: dict[str, str | None]) -> pl.DataFrame:
    """The table with a column of text for each partition that it does not hold itself."""
    new = {name: value for name, value in columns.items() if name not in frame.columns}
    return frame.with_columns(pl.lit(value, pl.String).alias(name) for name, value in new.items())


def _typed_partitions(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Whole numbers for the partitions whose texts are whole numbers without leading zeros."""
    numbers = [
        name
        for name in names
        if frame.schema[name] == pl.String and frame[name].str.contains(r"^(0|-?[1-9]\d{0,17})$").all()
    ]
    return frame.with_columns(pl.col(name).cast(pl.Int64) for name in numbers)


def read_files(source: Any, format: str, columns: Sequence[str] | None, options: dict[str, Any]) -> pl.DataFrame:
    """The files that `source` stands for as one table; `options` are those of text files."""
    paths = find_paths(source)
    of_path = {path: partitions(source, path) for path in paths}
    frame = _joined(paths, of_path, format, columns, options)
    return _typed_partitions(frame, {name for found in of_path.values() for name in found if name in frame.columns})


def _joined(
    paths: list[Path],
    of_path: Mapping[Path, dict[str, str | None]],
    format: str,
    columns: Sequence[str] | None,
    options: dict[str, Any],
) -> pl.DataFrame:
    frames = [with_partitions(_read_file(path, format, columns, options), of_path[path]) for path in paths]
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
        frames = [with_partitions(_read_file(path, format, columns, options), of_path[path]) for path in paths]
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
    name = os.fsencode(path)
    if name.decode(errors="replace").encode() != name:  # polars reads names in UTF-8 only
        with tempfile.TemporaryDirectory() as directory:
            link = Path(directory) / name.rpartition(b"/")[2].decode(errors="replace")
            link.symlink_to(path.absolute())
            try:
                return _read_file(link, format, columns, options)
            except InputError as error:
                raise InputError(str(error).replace(str(link), name.decode(errors="replace"))) from None
    if path.stat().st_size == 0:
        raise input_error("a table must not be empty, but the file has no bytes", file=str(path))
    kind = _format_of(path) if format == "auto" else format
    if kind in ("csv", "tsv"):
        return read_csv(path, **{**options, "separator": options["separator"] or ("\t" if kind == "tsv" else None)})
    if kind == "xlsx":
        frame = _read_excel(path)
    else:
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
        names += [field.name for field in schema if pa.types.is_dictionary(field.type) and field.name not in names]
    return names


def _read_excel(path: Path) -> pl.DataFrame:
    """The first sheet of a workbook."""
    try:
        return pl.read_excel(path, engine="calamine", infer_schema_length=None)
    except ImportError as error:
        raise MissingDependencyError(f'an Excel workbook needs {error.name}: pip install "anyfm[excel]"') from error
    except READ_ERRORS as problem:
        raise input_error(f"the workbook cannot be read ({problem})", file=str(path)) from None


def _read_json_lines(path: Path) -> pl.DataFrame:
    """Read a file of JSON lines, one object per line, or of one array of objects; plain or compressed."""
    raw = TextFile(path).read()
    is_array = raw.lstrip()[:1] == b"["
    try:
        read = pl.read_json if is_array else pl.read_ndjson
        frame = read(io.BytesIO(raw), infer_schema_length=None)
    except READ_ERRORS as problem:
        explain = _explain_array if is_array else _explain_json
        raise InputError(explain(raw, str(path), str(problem))) from None
    if frame.width == 0:
        raise input_error("a table must not be empty", file=str(path))
    return frame


def _explain_array(raw: bytes, path: str, problem: str) -> str:
    """Word what is wrong in a file that begins like an array of objects."""
    try:
        items = json.loads(raw)
    except (ValueError, UnicodeDecodeError, RecursionError) as fault:
        return located(f"the file must be JSON, an array of objects, but it is not: {fault}", file=path, value=raw[:60])
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            return located("every item of the array must be a JSON object", file=path, row=number, value=item)
    return located(f"the file cannot be read as JSON ({problem.splitlines()[0]})", file=path)


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
    kind = _suffix_kind(path)
    if start[:4] == b"PK\x03\x04" and kind is None and _is_workbook(path):
        return "xlsx"
    if kind in _BINARY:
        raise input_error(
            f"the name says {_BINARY[kind]}, but the file does not begin like one",
            file=str(path),
            value=start[:8],
            remedy="Check that it is complete, or give its format with the option format.",
        )
    if kind is None and any(start.startswith(magic) for magic in COMPRESSIONS.values()):
        with TextFile(path).open() as stream:
            start = stream.read(64)
    return kind or ("jsonl" if start.lstrip()[:1] == b"{" or _ARRAY.match(start) else "csv")


def _suffix_kind(path: Path) -> str | None:
    """The format by the name of a file, without the suffixes of compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return SUFFIXES.get(suffixes[-1]) if suffixes else None


def _is_workbook(path: Path) -> bool:
    try:
        return "xl/workbook.xml" in zipfile.ZipFile(path).namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def renamed(frame: pl.DataFrame, names: Sequence[str] | None, file: Path | None = None) -> pl.DataFrame:
    """The table with these column names; with its own if there are none."""
    if names is None:
        return frame
    check_names(names, frame.width, file)
    return frame.rename(dict(zip(frame.columns, names, strict=True)))
