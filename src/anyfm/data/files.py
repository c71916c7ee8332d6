"""Files and globs of files: which format each has, and how several become one table."""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from anyfm.core.errors import InputError, located
from anyfm.data.delimited import read_delimited, read_lines
from anyfm.data.textfile import READ_ERRORS

log = logging.getLogger(__name__)

FORMATS = ("auto", "csv", "tsv", "parquet", "ipc", "jsonl")
SUFFIXES = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".ipc": "ipc",
    ".arrow": "ipc", ".feather": "ipc", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_COMPRESSED = (".gz", ".zst", ".zstd")


def paths_of(source: Any) -> list[Path]:
    """The files that a path, a glob or a list of them stands for, in order of name."""
    paths: list[Path] = []
    for one in [source] if isinstance(source, (str, Path)) else source:
        path = Path(one).expanduser()
        if path.is_dir():
            raise InputError(
                located(
                    "a table must be a file, but this is a directory",
                    file=str(one),
                    remedy=f"Give a glob for the files in it, such as {str(path / '*.csv')!r}.",
                )
            )
        if path.exists():
            paths.append(path)
            continue
        found = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(str(path)) else []
        files = [Path(name) for name in found if Path(name).is_file()]
        if not files:
            what = "the pattern matches no file" if glob.has_magic(str(path)) else "the file does not exist"
            raise InputError(located(what, file=str(one), remedy=f"The working directory is {Path.cwd()}."))
        paths.extend(files)
    return paths


def read_files(paths: list[Path], format: str, columns: Sequence[str] | None, options: dict[str, Any]) -> pl.DataFrame:
    frames = [_read_file(path, format, columns, options) for path in paths]
    if len(frames) == 1:
        return frames[0]
    names = frames[0].columns
    for path, frame in zip(paths, frames, strict=True):
        lacking = [name for name in names if name not in frame.columns]
        extra = [name for name in frame.columns if name not in names]
        if lacking or extra:
            came = f"lacks {', '.join(map(repr, lacking))}" if lacking else f"also has {', '.join(map(repr, extra))}"
            rule = f"all files must have the columns of {paths[0]}, but this one {came}"
            raise InputError(located(rule, file=str(path)))
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
    kinds = {frame.schema[name] for frame in frames if frame.schema[name] != pl.Null}
    return len(kinds) > 1 and any(kind == pl.String for kind in kinds)


def _read_file(path: Path, format: str, columns: Sequence[str] | None, options: dict[str, Any]) -> pl.DataFrame:
    if path.stat().st_size == 0:
        raise InputError(located("a table must not be empty, but the file has no bytes", file=str(path)))
    kind = _format_of(path) if format == "auto" else format
    if kind in ("csv", "tsv"):
        separator = options["separator"] or ("\t" if kind == "tsv" else None)
        return read_delimited(path, **{**options, "separator": separator})
    frame = read_lines(path) if kind == "jsonl" else _read_binary(path, kind, columns)
    return renamed(frame, options["names"], str(path))


def _read_binary(path: Path, kind: str, columns: Sequence[str] | None) -> pl.DataFrame:
    try:
        if kind == "parquet":
            have = list(pl.read_parquet_schema(path))
            wanted = None if columns is None else [name for name in have if name in set(columns)]
            return pl.read_parquet(path, columns=wanted, glob=False)
        return pl.read_ipc(path)
    except READ_ERRORS as problem:
        text = str(problem).splitlines()[0]
        label = "Parquet" if kind == "parquet" else "Arrow IPC"
        raise InputError(
            located(
                f"the file cannot be read as {label} ({text})",
                file=str(path),
                remedy="Check that it is whole, and its format; see the option format.",
            )
        ) from None


def _format_of(path: Path) -> str:
    """The format of a file by its first bytes where they tell, or by its name."""
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
    if kind in ("parquet", "ipc"):
        label = "Parquet" if kind == "parquet" else "Arrow IPC"
        raise InputError(
            located(
                f"the name says {label}, but the file does not begin as one",
                file=str(path),
                value=start[:8],
                remedy="Check that it is whole, or say its format with the option format.",
            )
        )
    if kind is None:
        kind = "jsonl" if start.lstrip()[:1] == b"{" else "csv"
    return kind


def renamed(frame: pl.DataFrame, names: Sequence[str] | None, file: str | None) -> pl.DataFrame:
    if names is None:
        return frame
    if len(names) != frame.width or len(set(names)) != len(names):
        raise InputError(
            located(f"names must name each of the {frame.width} columns once, but there are {len(names)}", file=file)
        )
    return frame.rename(dict(zip(frame.columns, names, strict=True)))
