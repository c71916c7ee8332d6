"""Writing a directory or a file so that an error or a crash leaves either the old one or the new one, each whole.

What is being written stands beside its target under a hidden name, locked as long as its process lives. So what a
killed process left behind can be told from what another one is writing, and the next save clears it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NEW = "anyfm-new"
_OLD = "anyfm-old"
_NO_RENAMING = {errno.EBUSY, errno.EXDEV, errno.EROFS, errno.EACCES, errno.EPERM}
_MOVED_MEANWHILE = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY}
_ATTEMPTS = 100
_LOCK_SECONDS = 60.0
_ABANDONED_SECONDS = 86_400.0  # where there are no locks


class NotSyncedError(OSError):
    """The new directory is in place, but the system could not confirm that it is on the disk."""


def replace_directory(target: Path, files: Mapping[str, bytes], *, last: str, owned: Collection[str]) -> None:
    """Write `files` as the directory `target`; other files in it stay, as do its mode and owner.

    The new directory is written beside `target`, synced to disk, and then takes its place. Where the system can
    exchange two directories in one step (Linux, macOS) there is no moment without a `target`; elsewhere there is one
    between two renames, and a crash in it leaves the old directory under the name that `leftovers` finds.

    Where `target` cannot be renamed (a mounted volume, another layer, a parent without write permission, the working
    directory) or holds other files, the files are written inside it and renamed one by one, `last` at the end.

    Parameters
    ----------
    target : Path
        Without symbolic links.
    files : mapping of str to bytes
        Contents by name.
    last : str
        The file without which the others mean nothing.
    owned : collection of str
        Names that may be replaced or deleted.

    Raises
    ------
    NotSyncedError
        All is in place, but perhaps not on the disk.
    OSError
        Nothing has changed: the disk is full, a permission is missing.
    """
    with _locked(target):
        if _must_write_inside(target, owned):
            _write_inside(target, files, last=last, owned=owned)
        else:
            try:
                _write_beside(target, files)
            except NotSyncedError:
                raise
            except OSError as error:
                if error.errno not in _NO_RENAMING or not target.is_dir():
                    raise
                _write_inside(target, files, last=last, owned=owned)
    _clear_leftovers(target)


def check_writable(target: Path) -> None:
    """Raise the OSError that `replace_directory` would raise because of where `target` lies."""
    place = target.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    probe = f".{_NEW}-{secrets.token_hex(4)}"
    try:
        (place / probe).mkdir()
        (place / probe).rmdir()
    except OSError as error:
        if error.errno not in _NO_RENAMING or not target.is_dir():
            raise
        (target / probe).touch()
        (target / probe).unlink()


@contextlib.contextmanager
def replaced_file(target: Path) -> Iterator[BinaryIO]:
    """Yield an empty file beside `target`, open for bytes; on a clean exit it takes the place of `target`.

    A symbolic link stays one. What is no regular file (a device, a pipe) is written to directly, and so is a file that
    is a mount point, once all is known.

    Raises
    ------
    OSError
        The file cannot be written: the disk is full, a permission is missing.
    """
    target = Path(os.path.realpath(target))
    if target.exists() and not target.is_file():
        with target.open("wb") as special:
            yield special
        return
    file, fresh = _fresh_file(target)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            _copy_mode(target, fresh)
        try:
            os.replace(fresh, target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            shutil.copyfile(fresh, target)
            fresh.unlink()
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _clear_leftovers(target)


def leftovers(target: Path) -> list[Path]:
    """Whole directories that a crash between two renames may have left beside `target`."""
    return _entries(target.parent, _hidden(target, _OLD))


def is_being_replaced(target: Path, last: str) -> bool:
    """Whether somebody may be replacing the directory or its files right now, one by one."""
    return bool(_entries(target, _hidden(Path(last), _NEW)) or (not target.exists() and leftovers(target)))


# --- beside the target ----------------------------------------------------------------------------------------------


def _write_beside(target: Path, files: Mapping[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _fresh_directory(target) as fresh:
        if target.exists():
            _copy_mode(target, fresh)
        for name, content in files.items():
            _write(fresh / name, content)
            _copy_mode(target / name, fresh / name)
        _sync_directory(fresh)
        _move_into_place(fresh, target)
    try:
        _sync_directory(target.parent)
    except OSError as error:
        raise NotSyncedError(error.errno, error.strerror) from error


@contextlib.contextmanager
def _fresh_directory(target: Path) -> Iterator[Path]:
    """An empty, locked directory beside `target`; what is left of it in the end is deleted."""
    for _ in range(_ATTEMPTS):
        fresh = target.parent / f"{_hidden(target, _NEW)}{secrets.token_hex(4)}"
        fresh.mkdir()
        with contextlib.ExitStack() as stack:
            try:
                descriptor = stack.enter_context(_open_directory(fresh))
            except FileNotFoundError:
                continue
            if descriptor is not None:
                _try_lock(descriptor)
                if not _is_at(descriptor, fresh):  # another process took it for abandoned, before it was locked
                    continue
            try:
                yield fresh
            finally:
                _delete_tree(fresh)
            return
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _fresh_file(target: Path) -> tuple[BinaryIO, Path]:
    """An empty, locked file beside `target`, open for bytes."""
    for _ in range(_ATTEMPTS):
        path = target.parent / f"{_hidden(target, _NEW)}{secrets.token_hex(4)}"
        file = path.open("xb")
        _try_lock(file.fileno())
        if _is_at(file.fileno(), path):
            return file, path
        file.close()  # as above
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _move_into_place(fresh: Path, target: Path) -> None:
    """Put `fresh` in the place of `target`, whatever other processes do there at the same time."""
    aside = target.parent / fresh.name.replace(_NEW, _OLD)
    for attempt in range(_ATTEMPTS):
        try:
            if not target.exists():
                os.rename(fresh, target)
            elif not _exchange(fresh, target):
                os.rename(target, aside)
                try:
                    os.rename(fresh, target)
                except BaseException:
                    if not target.exists():
                        os.rename(aside, target)
                    raise
            _delete_tree(aside)
            return
        except OSError as error:
            if error.errno not in _MOVED_MEANWHILE or attempt + 1 == _ATTEMPTS or not fresh.exists():
                raise
            _delete_tree(aside)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two directories in one step; False where the system or the file system has no such step.

    Raises
    ------
    OSError
        It has, but not for these two.
    """
    a, b = os.fsencode(first), os.fsencode(second)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            done = libc.renamex_np(a, b, 2)  # RENAME_SWAP
        else:
            at_fdcwd, rename_exchange = -100, 2
            done = libc.renameat2(at_fdcwd, a, at_fdcwd, b, rename_exchange)
    except (AttributeError, OSError, TypeError):  # no such call; no C library to ask (Windows)
        return False
    code = ctypes.get_errno()
    if done != 0 and code in _NO_RENAMING | _MOVED_MEANWHILE:
        raise OSError(code, os.strerror(code), str(second))
    return bool(done == 0)


# --- inside the target ----------------------------------------------------------------------------------------------


def _must_write_inside(target: Path, owned: Collection[str]) -> bool:
    if not target.is_dir():
        return False
    working = Path(os.path.realpath(os.curdir))
    if os.path.ismount(target) or working == target or target in working.parents:
        return True
    if hasattr(os, "geteuid") and os.geteuid() not in (0, target.stat().st_uid):  # the owner could not stay
        return True
    ours = tuple(_hidden(Path(name), part) for name in owned for part in (_NEW, _OLD))
    return any(entry.name not in owned and not entry.name.startswith(ours) for entry in target.iterdir())


def _write_inside(target: Path, files: Mapping[str, bytes], *, last: str, owned: Collection[str]) -> None:
    unique = secrets.token_hex(4)
    fresh = {name: target / f"{_hidden(Path(name), _NEW)}{unique}" for name in files}
    old = {name: target / f"{_hidden(Path(name), _OLD)}{unique}" for name in owned if (target / name).exists()}
    names = sorted(set(files) | set(old), key=lambda name: (name == last, name))
    try:
        for name, content in files.items():
            _write(fresh[name], content)
            _copy_mode(target / name, fresh[name])
        for name, backup in old.items():
            try:
                os.link(target / name, backup)
            except OSError:  # a file system without links
                shutil.copy2(target / name, backup)
        changed = []
        try:
            for name in names:
                changed.append(name)
                if name in fresh:
                    os.replace(fresh[name], target / name)
                else:
                    (target / name).unlink()
        except BaseException:
            for name in changed:
                if name in old:
                    os.replace(old[name], target / name)
                else:
                    (target / name).unlink(missing_ok=True)
            raise
    finally:
        for path in (*fresh.values(), *old.values()):
            with contextlib.suppress(OSError):  # the next save clears it
                path.unlink(missing_ok=True)
    try:
        _sync_directory(target)
    except OSError as error:
        raise NotSyncedError(error.errno, error.strerror) from error
    for name in owned:  # of a killed process: nobody else writes here while the directory is locked
        for part in (_NEW, _OLD):
            for path in _entries(target, _hidden(Path(name), part)):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)


# --- locks and leftovers --------------------------------------------------------------------------------------------


def _hidden(target: Path, part: str) -> str:
    """What the names begin with that stand for `target` while it is written; not too long for any file system."""
    return f".{os.fsencode(target.name)[:150].decode(errors='ignore')}.{part}-"


def _entries(directory: Path, prefix: str) -> list[Path]:
    try:
        return sorted(entry for entry in directory.iterdir() if entry.name.startswith(prefix))
    except (OSError, ValueError):  # ValueError: no path at all
        return []


def _clear_leftovers(target: Path) -> None:
    """Delete what killed processes left beside `target`, which is whole."""
    for path in _entries(target.parent, _hidden(target, _NEW)):
        with contextlib.suppress(OSError), _open_directory(path) as descriptor:
            locked = None if descriptor is None else _try_lock(descriptor)
            is_old = time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
            abandoned = is_old if locked is None else locked
            if abandoned and path.is_dir():
                _delete_tree(path)
            elif abandoned:
                path.unlink()
    with contextlib.suppress(OSError):
        if target.is_dir():
            for path in leftovers(target):
                _delete_tree(path)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Let nobody else replace the directory `target` meanwhile, if there is one."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while target.is_dir():
        with _open_directory(target) as descriptor:
            if descriptor is None or (_try_lock(descriptor) is not False and _is_at(descriptor, target)):
                yield
                return
        if time.monotonic() > deadline:
            raise OSError(errno.EAGAIN, "another process is saving there", str(target))
        time.sleep(0.002)
    yield


@contextlib.contextmanager
def _open_directory(path: Path) -> Iterator[int | None]:
    """A descriptor of a directory or a file, to lock it; None where there are no locks."""
    if fcntl is None:
        yield None
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    """Lock a file or directory until it is closed; False if another process has it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _delete_tree(path: Path) -> None:
    with contextlib.suppress(OSError):  # rmtree may raise all the same
        shutil.rmtree(path, ignore_errors=True)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


# --- files ----------------------------------------------------------------------------------------------------------


def _write(path: Path, content: bytes) -> None:
    """Write a new file, and flush it to the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _copy_mode(old: Path, new: Path) -> None:
    """Give `new` the mode of `old`, and its owner where this process may, if there is an `old`."""
    with contextlib.suppress(OSError):
        found = old.stat()
        with contextlib.suppress(OSError, AttributeError):
            os.chown(new, found.st_uid, found.st_gid)
        new.chmod(stat.S_IMODE(found.st_mode))


def _sync_directory(path: Path) -> None:
    """Flush a directory to the disk, as far as the system can (Windows and some network file systems cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
