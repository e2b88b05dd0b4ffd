"""Atomic writes: a file is either complete or absent, even if the machine stops during a write."""

import contextlib
import errno
import json
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forethought.core.errors import ForethoughtError

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # not available on Windows
MARK = ".part-"  # prefix of the names of temporary files

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EACCES: "permission denied; make it writable, or choose another --out",
    errno.EPERM: "permission denied; make it writable, or choose another --out",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.ELOOP: "it is a symbolic link, which training does not write through; remove it",
    errno.EIO: "the disk reports an input/output error; check it, or choose another --out",
}


class StorageError(ForethoughtError):
    """A file of the run could not be written; earlier files are intact."""


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Context that turns the system's errors about `path` into one line with a remedy."""
    try:
        yield
    except OSError as problem:
        remedy = _REMEDIES.get(problem.errno or 0, problem.strerror or str(problem))
        raise StorageError(f"cannot write {path}: {remedy}. All earlier data are intact.") from problem


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A new, empty file in the folder of `path`; it replaces `path` at the end of the block, unless the block fails.

    Its name is random and it is created exclusively, so that no existing file or symbolic link is overwritten.  It has
    the extension of `path`, because some programs choose a format by the extension.
    """
    temporary = path.with_name(f"{MARK}{secrets.token_hex(8)}-{path.name}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o666))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed."""
    for path in [*folder.glob(f"{MARK}*"), *folder.glob("*.tmp")]:  # *.tmp: files of earlier versions
        path.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write `path` atomically: after a crash it has either the old or the new content.

    Raises:
        StorageError: full disk, no permission, and so on.
    """
    with storage_errors(path):
        with temporary_file(path) as temporary, open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)


def open_own(path: Path, flags: int) -> int:
    """A file descriptor of `path`, which is created if it does not exist; a symbolic link is refused.

    Raises:
        StorageError: the file cannot be opened.
    """
    with storage_errors(path):
        return os.open(path, flags | os.O_CREAT | NO_FOLLOW, 0o666)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically; numbers that are not finite become null."""
    text = json.dumps(finite(value), indent=2, allow_nan=False)
    write_whole(path, text.encode() + b"\n")


def finite(value: Any) -> Any:
    """`value` with null in place of every float that JSON cannot hold (NaN, infinities)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value


def sync_directory(path: Path) -> None:
    """Flush renames in folder `path` to disk, so that they survive a power failure; has no effect on Windows."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
