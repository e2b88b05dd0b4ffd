"""Files that are either whole or absent, whatever moment the machine stops at."""

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forethought.core.errors import ForethoughtError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EACCES: "permission denied; make it writable, or choose another --out",
    errno.EPERM: "permission denied; make it writable, or choose another --out",
    errno.EROFS: "the file system is read-only; choose another --out",
    errno.EIO: "the disk reports an input/output error; check it, or choose another --out",
}


class StorageError(ForethoughtError):
    """A file of the run could not be written; what was written before is intact."""


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors about `path` into one line with the remedy."""
    try:
        yield
    except OSError as problem:
        remedy = _REMEDIES.get(problem.errno or 0, problem.strerror or str(problem))
        raise StorageError(f"cannot write {path}: {remedy}. Everything saved before is still there.") from problem


def write_whole(path: Path, content: bytes) -> None:
    """Write `path` so that after a crash at any moment it holds the old content or the new, never a part.

    Raises:
        StorageError: full disk, no permission, and so on.
    """
    temporary = path.with_name(path.name + ".tmp")
    with storage_errors(path):
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all; numbers that are not finite become null."""
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
    """Make renames inside `path` survive a power cut, where the system can (Windows cannot)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
