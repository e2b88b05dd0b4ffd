"""Tests run under the strictest switches: shapes checked, no silent promotion of rank."""

import gc
import os
import tempfile
from pathlib import Path

_COMPILED = tempfile.TemporaryDirectory(
    prefix="forethought-"
)  # before JAX is imported: commands share what they compile
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _COMPILED.name)

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("forethought", "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")

MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 25_000  # Linux allows a process 65,530; every compiled program takes some, and XLA aborts beyond


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs():
    """Forget what earlier modules compiled before there is no room left."""
    if MAPPINGS.exists() and len(MAPPINGS.read_bytes().splitlines()) > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(params=[jnp.float32, jnp.float64], ids=["float32", "float64"])
def dtype(request):
    """Run the test in both precisions."""
    with jax.enable_x64(request.param == jnp.float64):
        yield request.param
