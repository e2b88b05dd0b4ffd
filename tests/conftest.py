"""Tests run under the strictest switches: shapes checked, no silent promotion of rank."""

import os
import tempfile

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
jax.config.update("jax_enable_compilation_cache", False)  # here, not in the commands that tests run: nothing is shared


@pytest.fixture(params=[jnp.float32, jnp.float64], ids=["float32", "float64"])
def dtype(request):
    """Run the test in both precisions."""
    with jax.enable_x64(request.param == jnp.float64):
        yield request.param
