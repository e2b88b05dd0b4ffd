import jax.numpy as jnp
import numpy as np
import pytest

from forethought.planning.candidates import BestSequence, Elites

US = jnp.arange(12.0).reshape(6, 2, 1)
MEAN, VAR = jnp.full((2, 1), 100.0), jnp.full((2, 1), 9.0)


def elites(*costs, count=3):
    return Elites.of(US, jnp.array(costs), count)


def test_elites_are_the_cheapest_and_refit_as_numpy_does():
    chosen = elites(5.0, 1.0, 4.0, 0.0, 3.0, 9.0)
    np.testing.assert_array_equal(chosen.us, US[jnp.array([3, 1, 4])])
    mean, var = chosen.refitted(MEAN, VAR)
    np.testing.assert_allclose(mean, np.mean(chosen.us, axis=0), rtol=1e-6)
    np.testing.assert_allclose(var, np.var(chosen.us, axis=0), rtol=1e-6)


def test_candidates_of_infinite_cost_are_no_elites():
    inf = jnp.inf
    chosen = elites(inf, inf, 2.0, inf, 1.0, inf)
    mean, var = chosen.refitted(MEAN, VAR)
    np.testing.assert_allclose(mean, np.mean(US[jnp.array([4, 2])], axis=0))
    np.testing.assert_allclose(var, 2 / 3 * np.var(US[jnp.array([4, 2])], axis=0) + 1 / 3 * np.asarray(VAR), rtol=1e-6)
    before = jnp.full((2, 2, 1), -1.0)
    np.testing.assert_array_equal(chosen.kept(2, before), US[jnp.array([4, 2])])
    np.testing.assert_array_equal(elites(inf, inf, 2.0, inf, inf, inf).kept(2, before)[1], before[1])


def test_without_a_finite_cost_nothing_changes():
    chosen = elites(*[jnp.inf] * 6)
    mean, var = chosen.refitted(MEAN, VAR)
    np.testing.assert_array_equal(mean, MEAN)
    np.testing.assert_array_equal(var, VAR)


@pytest.mark.parametrize("cost", [2.0, 3.0, jnp.nan, jnp.inf, -jnp.inf])
def test_the_best_is_replaced_only_by_a_lower_finite_cost(cost):
    best = BestSequence(US[0], jnp.array(2.0)).or_cheaper(US[1], jnp.asarray(cost))
    np.testing.assert_array_equal(best.us, US[0])
    assert best.cost == 2.0
    better = best.or_cheaper(US[1], jnp.array(1.0)).or_else(US[2], jnp.array(0.0))
    np.testing.assert_array_equal(better.us, US[1])
    first = BestSequence.none_yet(US[0]).or_cheaper(US[1], jnp.asarray(jnp.nan)).or_else(US[2], jnp.array(7.0))
    np.testing.assert_array_equal(first.us, US[2])
    assert first.cost == 7.0
