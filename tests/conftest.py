"""Tests run under the strictest switches: shapes checked, no silent promotion of rank."""

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import install_import_hook

install_import_hook("forethought", "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(params=[jnp.float32, jnp.float64], ids=["float32", "float64"])
def dtype(request):
    """Run the test in both precisions."""
    with jax.enable_x64(request.param == jnp.float64):
        yield request.param
