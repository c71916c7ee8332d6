"""Writing a directory or a file so that a crash at any moment leaves either the old one or the new one, each whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_NEW = "anyfm-new"
_OLD = "anyfm-old"


@contextlib.contextmanager
def replaced_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory beside `target`; on a clean exit it takes the place of `target`.

    The new directory is synced to disk and renamed only when the body has ended without an exception; otherwise it
    is deleted and `target` stays as it was. Where the system can exchange two directories in one step (Linux, macOS)
    there is no moment without a `target`; elsewhere there is one between two renames, and a crash in it leaves the
    old directory under the name that `leftovers` finds.

    Raises
    ------
    OSError
        The directory cannot be written: the disk is full, a permission is missing.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unique = secrets.token_hex(4)
    fresh = target.parent / f".{target.name}.{_NEW}-{unique}"
    fresh.mkdir()
    try:
        yield fresh
        for file in sorted(fresh.iterdir()):
            _sync(file)
        _sync(fresh)
        _move_into_place(fresh, target, aside=target.parent / f".{target.name}.{_OLD}-{unique}")
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


@contextlib.contextmanager
def replaced_file(target: Path) -> Iterator[BinaryIO]:
    """Yield an empty file beside `target`, open for bytes; on a clean exit it takes the place of `target`.

    Raises
    ------
    OSError
        The file cannot be written: the disk is full, a permission is missing.
    """
    fresh = target.parent / f".{target.name}.{_NEW}-{secrets.token_hex(4)}"
    try:
        with fresh.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def leftovers(target: Path) -> list[Path]:
    """Whole directories that a crash between two renames may have left beside `target`."""
    return sorted(target.parent.glob(f".{target.name}.{_OLD}-*")) if target.parent.is_dir() else []


def _move_into_place(fresh: Path, target: Path, *, aside: Path) -> None:
    if not target.exists():
        fresh.rename(target)
        return
    if _exchange(fresh, target):
        shutil.rmtree(fresh, ignore_errors=True)  # it holds the old directory now
        return
    target.rename(aside)
    try:
        fresh.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two directories in one step; False where the system or the file system cannot."""
    a, b = os.fsencode(first), os.fsencode(second)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return bool(libc.renamex_np(a, b, 2) == 0)  # RENAME_SWAP
        at_fdcwd, rename_exchange = -100, 2
        return bool(libc.renameat2(at_fdcwd, a, at_fdcwd, b, rename_exchange) == 0)
    except (AttributeError, OSError, TypeError):  # no such call; no C library to ask (Windows)
        return False


def _sync(path: Path) -> None:
    """Flush a file or a directory to the disk, as far as the system can (Windows cannot sync directories)."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
