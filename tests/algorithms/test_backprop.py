"""Policy search by backpropagation through learned dynamics."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.backprop import Backprop, GradientSearch, PolicyKind
from forethought.core import Problem
from forethought.models.ensemble import Ensemble
from tests.algorithms.test_pets import Hidden, system, train
from tests.linear import QuadraticTask, double_integrator
from tests.planning.test_planners import X0, optimum

TINY = Backprop(
    model=Ensemble(members=2, hidden=(24, 24), max_epochs=60, batch=16),
    policy=PolicyKind(hidden=(16,)),
    search=GradientSearch(updates=20, particles=4, horizon=3, value=True, value_hidden=(16,)),
    round_steps=1,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["network", "rbf", "linear"])
def test_improves_a_policy_on_a_linear_system(kind):
    """Within 40% of the cost of the best open-loop sequence of the true system."""
    search = GradientSearch(updates=300, particles=20, horizon=8, value=True, discount=0.95, learning_rate=1e-2)
    model = Ensemble(members=2, hidden=(32, 32), max_epochs=100, batch=16)
    algorithm = Backprop(model=model, policy=PolicyKind(kind=kind, hidden=(32,), basis_functions=10), search=search)
    env = system()
    state, _ = train(algorithm, env, 6)
    episode = env.run(algorithm.controller(state, env), key=jr.key(0))
    best = optimum(Problem(double_integrator(), QuadraticTask(final=0.0)), X0)
    assert -float(episode.reward.sum()) < 1.4 * best


@pytest.mark.parametrize("estimator", ["pathwise", pytest.param("mixed", marks=pytest.mark.slow)])
def test_round_by_round(estimator):
    env = system(Hidden, edge=1.5)
    algorithm = dataclasses.replace(TINY, search=dataclasses.replace(TINY.search, estimator=estimator))
    state, infos = train(algorithm, env, 2)
    start = algorithm.init(env, key=jr.key(9))
    assert jax.tree.structure(start) == jax.tree.structure(state)
    leaves = [jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (start, state)]
    assert [a.dtype for a in leaves[0]] == [a.dtype for a in leaves[1]]
    metrics = infos[1].metrics
    assert all(np.isfinite(metrics[name]) for name in ("imagined_cost", "gradient_norm", "gradient_std", "value_error"))
    assert (0 < metrics["score_share"] < 1) == (estimator == "mixed")
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), start.policy.function, state.policy.function)
    assert any(jax.tree.leaves(changed))
    if estimator == "pathwise":
        again, _ = train(algorithm, env, 2)
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
            np.testing.assert_array_equal(a, b)


def test_gradient_steps_that_are_not_finite_leave_the_policy_as_it_is():
    env = system(Hidden, edge=1.5)
    state, _ = train(TINY, env, 1)
    broken = jax.tree.map(
        lambda a: a * jnp.nan if a.dtype == jnp.float32 else a, state.experience.learned.dynamics.model
    )
    broken_state = eqx.tree_at(lambda s: s.experience.learned.dynamics.model, state, broken)
    after, metrics = TINY.improve(broken_state, env, key=jr.key(1))
    for a, b in zip(jax.tree.leaves(after.policy.function), jax.tree.leaves(state.policy.function), strict=True):
        np.testing.assert_array_equal(a, b)
    assert metrics["imagined_cost"] is None


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="discount in"):
        GradientSearch(discount=0.0)
    with pytest.raises(ValueError, match="updates must be at least 1"):
        GradientSearch(updates=0)
    with pytest.raises(ValueError, match="multiple of model.members .3."):
        Backprop(model=Ensemble(members=3))
