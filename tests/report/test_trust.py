"""The sections on trust: each number against a system in which it is known."""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import DiagonalGaussian, Problem
from forethought.dynamics.space import StateSpace
from forethought.report.exploitation import compare_plans, exploitation_section
from forethought.report.limits import Limit, cost_limit, limits_section, planner_limit
from forethought.report.missing_data import gaps, gaps_section
from forethought.report.sensitivity import sensitivity, sensitivity_map
from forethought.report.uncertainty import uncertainty, uncertainty_section
from tests.report.fakes import Constant, episodes_of, oscillator, task

SPACE = StateSpace(2, names=("position (m)", "velocity (m/s)"))
EXACT = oscillator(std=0.0)
EPISODES = episodes_of(EXACT, count=4)


def test_inputs_are_those_of_a_linear_system():
    """For independent inputs S[i, j] = a_ij^2 var(z_j) / sum_k a_ik^2 var(z_k)."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(4000, 2)) * [2.0, 0.5], rng.normal(size=(4000, 1))
    shares = sensitivity(EXACT, SPACE, x.astype(np.float32), u.astype(np.float32), key=jr.key(0))
    weights = np.concatenate([np.asarray(EXACT.A) - np.eye(2), np.asarray(EXACT.B)], axis=1) ** 2 * [4, 0.25, 1]
    np.testing.assert_allclose(shares, weights / weights.sum(1, keepdims=True), atol=0.06)
    assert max(shares[0, 0], shares[0, 2]) < 1e-9  # the change of the position depends on the velocity alone
    assert b"<svg" in sensitivity_map(shares, list(SPACE.names), [*SPACE.names, "force (N)"])


def test_far_states_are_those_without_data_around_them():
    rng = np.random.default_rng(0)
    data = rng.uniform(-1, 1, (2000, 2)).astype(np.float32)
    near, far = data[:50] + 1e-4, np.array([[5.0, 0.0]] * 25, np.float32)
    found = gaps(SPACE, data, np.concatenate([near, far]))
    assert found.far.tolist() == [False] * 50 + [True] * 25 and found.share == pytest.approx(1 / 3)
    section = gaps_section(found, SPACE, "planned", "Collect more.")
    assert "33% of the 75 planned states" in section.text[0] and "Collect more." in section.text[0]
    assert section.table.rows[0][3] == "33%" and section.table.rows[1][3] == "0%"
    np.testing.assert_allclose(gaps(SPACE, data, near).far, False)


def test_angles_have_no_edge_at_a_full_turn():
    space = StateSpace(1, angles=(0,))
    data = np.linspace(-np.pi, np.pi, 200, dtype=np.float32)[:, None]
    assert not gaps(space, data, data + 2 * np.pi).far.any()


def test_an_exact_model_predicts_what_was_executed():
    """Then the whole optimism is due to the plan; here it is a fixed one, in place of random actions."""
    problem, planner = Problem(EXACT, task()), Constant(0.5, 6)
    found = compare_plans(problem, planner, EPISODES, whole=False, key=jr.key(0))
    np.testing.assert_allclose(found.executed, found.obtained, rtol=1e-3, atol=1e-3)
    assert len(found.places) == 10 and abs(found.model_error) < 1e-3
    assert found.exploitation == pytest.approx(found.optimism, abs=1e-3)
    (i, start), x = found.places[3], None
    x = EPISODES[i].x[start]
    gained = 0.0
    for _ in range(6):
        gained -= float(x[0]) ** 2
        x = np.asarray(EXACT.A) @ x + np.asarray(EXACT.B)[:, 0] * 0.5
    np.testing.assert_allclose(found.predicted[3, 1], gained, rtol=1e-3)
    section = exploitation_section(found, 0.1)
    assert len(section.table.rows) == 10 and "due to the search" in section.text[0]


def test_whole_plans_begin_with_the_episodes():
    found = compare_plans(Problem(EXACT, task()), Constant(0.5, 6), EPISODES, whole=True, key=jr.key(0))
    assert found.places == ((0, 0), (1, 0), (2, 0), (3, 0))


class Noisy(eqx.Module):
    """Knows that its error grows with the position; the predicted std is `factor` times too small."""

    factor: float = eqx.field(static=True)

    def __call__(self, x, u, t):
        return DiagonalGaussian(x, (0.1 + jnp.abs(x)) / self.factor)

    def draw(self, *, key):
        return self


def noisy_episodes(count=6, steps=200):
    rng = np.random.default_rng(0)
    (example,) = episodes_of(EXACT, count=1, steps=steps)
    found = []
    for _ in range(count):
        x = rng.normal(size=(steps, 2))
        x_next = x + (0.1 + np.abs(x)) * rng.normal(size=x.shape)
        pair = (jnp.asarray(x, jnp.float32), jnp.asarray(x_next, jnp.float32))
        found.append(eqx.tree_at(lambda e: (e.x, e.x_next), example, jax.tree.map(np.asarray, pair)))
    return found


def test_uncertainty_that_grows_with_error_is_seen_and_scaled():
    found = uncertainty(Noisy(2.0), SPACE, noisy_episodes())
    assert found.pooled_correlation > 0.4
    np.testing.assert_allclose(found.temperature, 2, rtol=0.1)
    assert (found.before > 0.15).all() and (found.after < 0.05).all()
    section = uncertainty_section(found, SPACE.names, "On new episodes.")
    assert [row[0] for row in section.table.rows] == list(SPACE.names) and section.pictures[0].svg


def test_constant_uncertainty_says_nothing():
    found = uncertainty(oscillator(std=0.1), SPACE, episodes_of(oscillator(std=0.1), count=1))
    assert np.isnan(found.correlation).all() and np.isnan(found.pooled_correlation)
    assert uncertainty_section(found, SPACE.names, "").table.rows[0][1] == "-"


@dataclass(frozen=True)
class Improving:
    """A planner whose plans keep the state at zero the better the longer it searches."""

    iterations: int = 1
    horizon: int = 6

    def init(self, problem):
        return ()

    def plan(self, problem, x0, state, *, key):
        return Constant(1.0 / self.iterations, self.horizon).plan(problem, x0, state, key=key)


def test_a_short_search_is_a_limit():
    still = jax.tree.map(np.zeros_like, EPISODES[0])
    problem = Problem(EXACT, task())
    limit = planner_limit(problem, Improving(), still, key=jr.key(0))
    assert limit.what == "planner" and limit.counts and limit.value == pytest.approx(1 - 1 / 16, abs=0.01)
    assert "--planner.iterations" in limit.setting
    assert planner_limit(problem, Constant(), still, key=jr.key(0)) is None


def test_a_cost_that_ranks_episodes_wrongly_is_a_limit():
    assert cost_limit([1.0, 2.0, 3.0, 4.0], [False, False, True, True]).value == 0
    wrong = cost_limit([1.0, 5.0, 3.0, 4.0], [False, False, True, True])
    assert wrong.value == 0.5 and wrong.counts
    assert np.isnan(cost_limit([1.0, 2.0], [True, True]).value) and not cost_limit([1.0], [False]).counts
    section = limits_section([wrong, dataclasses.replace(wrong, what="data", value=float("nan"))])
    assert section.text[0].startswith("Learning is limited by: cost. Not measured: data")
    assert "None of the tests" in limits_section([Limit("data", 1.0, 1.5, "", "")]).text[0]
