import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.learners.advantages import explained_variance, generalized_advantages
from forethought.learners.shuffle import permutation

T, B = 11, 3
KEYS = jr.split(jr.key(0), 5)
REWARDS, VALUES, NEXT = (np.asarray(jr.normal(k, (T, B)), np.float64) for k in KEYS[:3])
ENDED = np.asarray(jr.bernoulli(KEYS[3], 0.2, (T, B)))
CUT = np.asarray(jr.bernoulli(KEYS[4], 0.2, (T, B))) & ~ENDED


def by_definition(discount, trace):
    """Equation 16 as a sum over the steps that follow within the episode."""
    advantages = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            weight = 1.0
            for k in range(t, T):
                following = 0.0 if ENDED[k, b] else NEXT[k, b]
                advantages[t, b] += weight * (REWARDS[k, b] + discount * following - VALUES[k, b])
                if ENDED[k, b] or CUT[k, b]:
                    break
                weight *= discount * trace
    return advantages


@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
def test_advantages_against_their_definition(trace):
    arrays = (jnp.asarray(a) for a in (REWARDS, VALUES, NEXT, ENDED, CUT))
    found = generalized_advantages(*arrays, discount=0.9, trace=trace)
    np.testing.assert_allclose(found, by_definition(0.9, trace), atol=1e-5)


def test_with_trace_one_they_are_discounted_returns_minus_values():
    """An episode that ends in a terminal state, and one that a time limit cuts."""
    rewards, flags = jnp.ones((3, 2)), jnp.zeros((3, 2), bool).at[2, 0].set(True)
    cut = jnp.zeros((3, 2), bool).at[2, 1].set(True)
    found = generalized_advantages(
        rewards, jnp.zeros((3, 2)), jnp.full((3, 2), 10.0), flags, cut, discount=0.5, trace=1.0
    )
    with_value = 1 + 0.5 * 10  # d_t = 1 + 0.5 * 10 in every step but the terminal one
    np.testing.assert_allclose(found[2], [1, with_value])
    np.testing.assert_allclose(found[1], [with_value + 0.5, with_value + 0.5 * with_value])


def test_explained_variance():
    targets = jnp.array([1.0, 2.0, 4.0])
    assert explained_variance(targets, targets) == 1
    assert explained_variance(jnp.zeros(3), targets) == 0
    assert explained_variance(jnp.ones(3), jnp.ones(3)) == 0


@pytest.mark.parametrize("n", [1, 2, 5, 64, 100])
def test_a_permutation_has_every_index_once(n):
    for seed in range(5):
        assert sorted(permutation(n, key=jr.key(seed)).tolist()) == list(range(n))


def test_every_index_is_as_likely_at_every_place():
    n, draws = 8, 4000
    drawn = np.asarray(jax.vmap(lambda key: permutation(n, key=key))(jr.split(jr.key(0), draws)))
    counts = np.stack([np.bincount(drawn[:, place], minlength=n) for place in range(n)])
    assert (np.abs(counts - draws / n) < 6 * np.sqrt(draws / n)).all()
    neighbors = np.mean(drawn[:, 1:] == (drawn[:, :-1] + 1) % n)
    assert neighbors < 0.25  # 1 / n by chance
