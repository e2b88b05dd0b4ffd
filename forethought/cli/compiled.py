"""JAX's persistent compilation cache for the command line: programs compiled for one command are reused by the next.

Compilation takes half the time of a short command.  JAX's environment variables take precedence, such as
`JAX_ENABLE_COMPILATION_CACHE=false`, which disables the cache.  Compiled programs are machine code, so each type of
processor has its own folder (home folders may be shared between machines), which only this user may write to.
"""

import hashlib
import os
import platform
import stat
from collections.abc import MutableMapping
from pathlib import Path

MOST_BYTES = 2**30
WORTH_KEEPING_S = 0.3  # shortest compilation time of a program that is cached, s
PROCESSOR = Path("/proc/cpuinfo")


def keep_compiled(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set JAX's cache directory before JAX is imported; without a safe directory there is no cache."""
    if "JAX_COMPILATION_CACHE_DIR" in environ:
        return
    caches = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or Path.home(), ".cache")
    place = Path(caches) / "forethought" / f"xla-{_processor()}"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (_mine_alone(place) and os.access(place, os.W_OK)):
            return
    except OSError:
        return
    environ["JAX_COMPILATION_CACHE_DIR"] = str(place)
    environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MOST_BYTES))
    environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(WORTH_KEEPING_S))


def _mine_alone(place: Path) -> bool:
    """Whether only this user can write to the folder."""
    if not hasattr(os, "getuid"):
        return True
    about = place.stat()
    return about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _processor() -> str:
    """A name for the type of processor, which determines the machine code."""
    try:
        lines = PROCESSOR.read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    kinds = {line for line in lines if line.split(":")[0].strip() in ("model name", "flags", "Features")} or set(
        lines[:1]
    )
    return hashlib.sha256("\n".join(sorted(kinds) + [platform.machine()]).encode()).hexdigest()[:12]
