"""The benchmarks count operations as XLA does."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "common.py"


@pytest.fixture(scope="module")
def common():
    spec = importlib.util.spec_from_file_location("benchmarks_common", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("backwards", [False, True])
def test_operations_of_the_matrix_products(common, backwards):
    weights = [jnp.ones(shape) for shape in zip(common.LAYERS[:-1], common.LAYERS[1:], strict=True)]

    def loss(weights, z):
        for weight in weights:
            z = z @ weight
        return jnp.sum(z**2)

    function = jax.grad(loss) if backwards else loss
    counted = jax.jit(function).lower(weights, jnp.ones((64, common.LAYERS[0]))).compile().cost_analysis()["flops"]
    expected = (common.gradient_flops if backwards else common.forward_flops)(64)
    assert counted == pytest.approx(expected, rel=0.01)


def test_tables_align(common):
    lines = common.table(["", "median"], [["an act", 1.23456], ["steps", 674], ["none", None]]).splitlines()
    assert lines == ["        median", "an act    1.23", "steps      674", "none         -"]
