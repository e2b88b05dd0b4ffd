"""The tabular model: what it keeps, what it knows to be unknown, and its random pairs."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Transition
from forethought.models.tabular import TabularModel, choose

S, A = 5, 3


def rows(seed, count=60):
    rng = np.random.default_rng(seed)
    x, u, x_next = rng.integers(0, S - 1, count), rng.integers(0, A, count), rng.integers(0, S, count)
    over = x_next == S - 1
    integers = (jnp.asarray(a, jnp.int32) for a in (x, u, x_next))
    reward = jnp.asarray(rng.normal(size=count), jnp.float32)
    return Transition(*integers, reward, jnp.asarray(over), jnp.zeros(count, bool))


@jax.jit
def observed(model, rows):
    return jax.lax.scan(lambda model, row: (model.observe(row), None), model, rows)[0]


@pytest.mark.parametrize("outcomes", [1, 4])
def test_the_latest_outcomes_are_kept(outcomes):
    seen = rows(0)
    model = observed(TabularModel.empty(S, A, outcomes), seen)
    latest = {}
    for t in range(len(seen)):
        latest.setdefault((int(seen.x[t]), int(seen.u[t])), []).append(t)
    seen, values = jax.tree.map(np.asarray, seen), np.arange(S, dtype=np.float32)
    draws = jnp.linspace(0, 0.999, 9)

    @jax.jit
    def at(s, a):
        found = jax.vmap(lambda u: model.outcome(s, a, u))(draws)
        return found.known, found.reward, model.expected_target(jnp.asarray(values), s, a, 0.5)

    expected = jax.jit(lambda: model.expected_targets(jnp.asarray(values), 0.5))()
    before_two = jax.jit(lambda: model.predecessors(jnp.int32(2)))()
    for s in range(S):
        for a in range(A):
            times = latest.get((s, a), [])
            assert int(model.count[s, a]) == len(times)
            assert int(model.last[s, a]) == (times[-1] + 1 if times else 0)
            kept = times[-outcomes:]
            known, reward, alone = map(np.asarray, at(jnp.int32(s), jnp.int32(a)))
            assert set(known.tolist()) == {bool(times)}  # an unknown pair is known to be unknown
            if times:
                assert set(reward.tolist()) == {float(seen.reward[t]) for t in kept}
                later = [0.0 if seen.terminated[t] else 0.5 * values[int(seen.x_next[t])] for t in kept]
                mean = np.mean([float(seen.reward[t]) + v for t, v in zip(kept, later, strict=True)])
                np.testing.assert_allclose(expected[s, a], mean, atol=1e-6)
                np.testing.assert_allclose(alone, mean, atol=1e-6)
            leads = any(int(seen.x_next[t]) == 2 and not seen.terminated[t] for t in kept)
            assert bool(before_two[s, a]) == leads


def test_random_pairs_are_those_of_the_textbook():
    """Uniform over visited states, then uniform over the actions tried there, or over all."""
    seen = jax.tree.map(lambda leaf: leaf[:5], rows(3))
    model = observed(TabularModel.empty(S, A), seen)
    visited = list(dict.fromkeys(np.asarray(seen.x).tolist()))
    assert np.asarray(model.order)[: int(model.visited)].tolist() == visited
    u = jr.uniform(jr.key(0), (4000, 2))
    s, a = jax.vmap(model.tried_pair)(u)
    pairs = {pair for pair in zip(np.asarray(seen.x).tolist(), np.asarray(seen.u).tolist(), strict=True)}
    drawn, counts = np.unique(np.stack([s, a], 1), axis=0, return_counts=True)
    assert {tuple(one) for one in drawn.tolist()} == pairs
    for (state, _), share in zip(drawn, counts / 4000, strict=True):
        siblings = sum(one == state for one, _ in pairs)
        assert abs(share - 1 / len(visited) / siblings) < 0.04
    s, a = jax.vmap(model.visited_pair)(u)
    assert set(np.asarray(s).tolist()) == set(visited) and set(np.asarray(a).tolist()) == set(range(A))


def test_choices_are_below_n_at_the_limits():
    almost_one = jnp.float32(np.nextafter(np.float32(1), np.float32(0)))
    assert [int(choose(almost_one, jnp.int32(n))) for n in (0, 1, 7, 5400)] == [0, 0, 6, 5399]
    assert int(choose(jnp.float32(0), jnp.int32(7))) == 0


def test_an_empty_model_predicts_nothing():
    model = TabularModel.empty(S, A)
    assert not bool(model.outcome(jnp.int32(0), jnp.int32(0), jnp.float32(0.5)).known)
    assert not np.any(model.predecessors(jnp.int32(0)))
    assert not np.any(model.expected_targets(jnp.ones(S), 0.9))
