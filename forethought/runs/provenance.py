"""The provenance of a run: versions, the commit of the code around it, and the machine."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from forethought._version import __version__

PACKAGES = ("jax", "jaxlib", "numpy", "equinox", "optax", "gymnasium", "mujoco")


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None for packages that are not installed.

    Ours is that of the code that runs: what an editable installation recorded may be older.
    """
    of_packages = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "forethought": __version__, **of_packages}


def git_commit(folder: Path | None = None) -> dict[str, Any] | None:
    """The commit checked out in the working directory, and whether files differ from it; None outside a checkout."""
    commit = _git("rev-parse", "HEAD", folder=folder)
    if not commit:
        return None
    return {"commit": commit, "modified": bool(_git("status", "--porcelain", "--untracked-files=no", folder=folder))}


def hardware() -> dict[str, Any]:
    """The processor, how many cores this process may use, and JAX's devices."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = jax.devices()
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "platform": platform.platform(),
        "device": devices[0].device_kind,
        "devices": len(devices),
        "backend": jax.default_backend(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str, folder: Path | None) -> str:
    try:
        answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, or no answer in time
        return ""
    return answer.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
