import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from forethought.tasks.reference import Reference

VALUES = jnp.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])


def test_values_by_step_and_the_last_one_afterwards():
    reference = Reference(VALUES)
    np.testing.assert_array_equal(jax.vmap(reference)(jnp.arange(5)), VALUES[jnp.array([0, 1, 2, 2, 2])])
    np.testing.assert_array_equal(reference(1), VALUES[1])


def test_a_step_beyond_the_end_is_an_error_if_that_is_asked_for():
    reference = Reference(VALUES, after="error")
    values = eqx.filter_jit(eqx.filter_vmap(reference))
    np.testing.assert_array_equal(values(jnp.arange(3)), VALUES)
    with pytest.raises(RuntimeError, match="steps 0 to 2 only"):
        jax.block_until_ready(values(jnp.arange(4)))


@pytest.mark.parametrize(
    ("values", "after", "complaint"),
    [(VALUES, "repeat", 'got "repeat"'), (VALUES[:0], "hold", "1 row")],
)
def test_wrong_references_are_refused(values, after, complaint, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users run without type checks
    with pytest.raises(ValueError, match=complaint):
        Reference(values, after=after)
