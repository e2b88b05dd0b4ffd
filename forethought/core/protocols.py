"""The protocols that authors of models, tasks, planners and controllers meet, and the values they exchange.

Symbols: state `x` [n], action `u` [m] in task units, step index `t`, planning horizon `T`, cost `c(x, u, t)`
(minimized; reward is its negative, only at the edge to an RL environment).

Signatures are unbatched: batch with `jax.vmap` where you call.  Epistemic uncertainty is `draw(key)`: one function
out of a model's posterior.  Aleatoric uncertainty is `.sample(key)` of the distribution that the function returns.
"""

import math
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from forethought.core.data import Trajectory
from forethought.core.gaussian import Gaussian, LinearGaussian
from forethought.core.spaces import Box, Discrete, Spaces, require_box


@runtime_checkable
class Distribution(Protocol):
    """A distribution over values of one shape: real numbers [n], or one integer []."""

    def sample(self, *, key: PRNGKeyArray) -> Shaped[Array, "*n"]: ...

    def log_prob(self, y: Shaped[Array, "*n"], /) -> Float[Array, ""]:
        """Log-density at `y`, or log-probability where values are discrete, in nats."""
        ...


@runtime_checkable
class Continuous(Distribution, Protocol):
    """Capability of a distribution over real numbers [n] that knows its first two moments."""

    @property
    def mean(self) -> Float[Array, "n"]: ...

    @property
    def cov(self) -> Float[Array, "n n"]: ...

    @property
    def std(self) -> Float[Array, "n"]: ...


@runtime_checkable
class HasMode(Protocol):
    """Capability of a distribution that knows its most probable value."""

    @property
    def mode(self) -> Shaped[Array, "*n"]: ...


@runtime_checkable
class Conditional(Protocol):
    """`p(y | z)`: a Gaussian process, a network, an ensemble, a table, a memoryless policy."""

    def __call__(self, z: Shaped[Array, "*d"], /) -> Distribution:
        """The predictive distribution of `y`, everything uncertain integrated out."""
        ...

    def draw(self, *, key: PRNGKeyArray) -> "Conditional":
        """One function from the posterior; only noise is left in it.  A certain model returns itself."""
        ...


@runtime_checkable
class ContinuousConditional(Protocol):
    """A `Conditional` of real numbers: what a regression gives."""

    def __call__(self, z: Float[Array, "d"], /) -> Continuous:
        """The predictive distribution of `y` [e]."""
        ...

    def draw(self, *, key: PRNGKeyArray) -> "ContinuousConditional":
        """As in `Conditional`."""
        ...


@runtime_checkable
class FitReport(Protocol):
    """What every model's `fit` returns beside the fitted model."""

    @property
    def result(self) -> Any:
        """A `Result` or its integer, also as an array: whether the fit has a usable answer."""
        ...

    @property
    def metrics(self) -> dict[str, float]:
        """Named numbers for the record of a run, `metrics.jsonl`."""
        ...


@runtime_checkable
class Regression(Protocol):
    """Settings of a model (frozen, hashable) that is fitted to data: `p(y | z)` from rows of z [N, d] and y [N, e]."""

    def init(self, d: int, e: int, *, key: PRNGKeyArray) -> Any:
        """The `Conditional` before any data."""
        ...

    def fit(
        self,
        z: Float[Array, "N d"],
        y: Float[Array, "N e"],
        size: Int[Array, ""],
        *,
        previous: Any = None,
        key: PRNGKeyArray,
    ) -> tuple[Any, FitReport]:
        """The `Conditional` fitted to the first `size` rows, and a report of the fit."""
        ...


@runtime_checkable
class Dynamics(Protocol):
    """`p(x' | x, u)`, known or learned."""

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Continuous: ...

    def draw(self, *, key: PRNGKeyArray) -> "Dynamics": ...


@runtime_checkable
class HasSimulate(Protocol):
    """Capability of dynamics without noise: many open-loop rollouts at once (a simulator with threads of its own)."""

    def simulate(self, x0: Float[Array, "n"], us: Float[Array, "S T m"]) -> Float[Array, "S T+1 n"]:
        """The states under each of S action sequences, from `x0` on."""
        ...


@runtime_checkable
class HasLinearize(Protocol):
    """Capability of dynamics that know their own derivatives: analytic ones, or a simulator's."""

    def linearize(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
        """The affine model over `z = [x; u]` that touches the dynamics at `(x, u)`: F [n, n+m], f [n], cov [n, n]."""
        ...


@runtime_checkable
class HasMoments(Protocol):
    """Capability of a conditional that can push a Gaussian through itself in closed form."""

    def moments(self, p: Gaussian) -> LinearGaussian:
        """The affine conditional that has the moments of y [e] when `z ~ p` [d], and `F = E[dy/dz]`."""
        ...


@runtime_checkable
class HasCostMoments(Protocol):
    """Capability of a task that knows its cost's expectation and spread under a Gaussian."""

    def cost_moments(
        self, p: Gaussian, t: Int[Array, ""], *, smoothing: Float[Array, ""] | float = 0.0
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean and variance of `cost(x, u, t)` for `[x; u] ~ p`.

        `smoothing`: standard deviation of noise added to what the cost measures, in its unit.  It widens a narrow
        cost, so that a search has a slope to follow far from the goal.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """What is wanted, owned once for the real environment and for every model of it."""

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        ...

    @property
    def dt(self) -> float:
        """Seconds in a step."""
        ...

    @property
    def action_space(self) -> Box | Discrete:
        """The actions that are allowed."""
        ...

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]: ...

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]: ...

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]: ...

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]: ...

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""] | None:
        """Whether the trajectory meets the task's own test; None where the task has none."""
        ...


def box_of(task: Task) -> Box:
    """The limits of a task's continuous actions.

    Raises:
        UsageError: its actions are discrete.
    """
    return require_box(task.action_space, "This method")


def _step_index(t: Any) -> Int[Array, ""]:
    return jnp.asarray(t).astype(jnp.int32)


class Problem(eqx.Module):
    """An optimal-control problem: how the system moves, and what is wanted of it.

    `t0` is the step index at which planning starts: `Dynamics` and costs may depend on time.  It is an array, so that
    planning from another time compiles nothing again.
    """

    dynamics: Dynamics
    task: Task
    t0: Int[Array, ""] = eqx.field(default=0, converter=_step_index)

    def __check_init__(self) -> None:
        """Dynamics that know their time step must agree with the task."""
        dt, expected = getattr(self.dynamics, "dt", None), getattr(self.task, "dt", None)
        if not (isinstance(dt, float) and isinstance(expected, float)):
            return  # not known, or traced
        if not math.isclose(dt, expected, rel_tol=1e-6):
            name = type(self.dynamics).__name__
            raise ValueError(f"{name} has steps of {dt} s, and the task has steps of {expected} s; give both one dt.")

    def times(self, steps: int) -> Int[Array, "steps"]:
        """The step indices of a plan: t0, t0 + 1, ..."""
        return self.t0 + jnp.arange(steps)

    def starting_at(self, t: Any) -> "Problem":
        """The same problem, planned from step `t` on."""
        return Problem(self.dynamics, self.task, t)


class Plan(eqx.Module):
    """Every planner's answer: a time-varying linear-Gaussian controller and the states it expects.

    `policy` is stacked [T]: `u_t ~ N(F_t x_t + f_t, cov_t)`; a plan without feedback has `F = 0`.
    `cost` is the expected cost of exactly this policy.
    """

    policy: LinearGaussian
    xs: Float[Array, "{policy.f.shape[0]}+1 n"]
    cost: Float[Array, ""]
    result: Int[Array, ""]
    action_space: Box  # limits of the actions
    iterations: Int[Array, ""] | None = None  # of the planner, where they differ from plan to plan

    @property
    def us(self) -> Float[Array, "T m"]:
        """The planned actions along the planned states."""
        return jnp.einsum("tmn,tn->tm", self.policy.F, self.xs[:-1]) + self.policy.f

    def act(self, x: Float[Array, "n"], t: Int[Array, ""] | int) -> Float[Array, "m"]:
        """The action in state `x` at step `t` of the plan, counted from 0, within the limits."""
        return self.action_space.clip(jnp.sum(self.policy.F[t] * x[None], axis=1) + self.policy.f[t])


@runtime_checkable
class Planner(Protocol):
    """Settings of a planner (frozen, hashable); its state `S` carries the warm start."""

    def init(self, problem: Problem) -> Any: ...

    def plan(self, problem: Problem, x0: Float[Array, "n"], state: Any, *, key: PRNGKeyArray) -> tuple[Plan, Any]: ...


@runtime_checkable
class Controller(Protocol):
    """Chooses actions.  `carry` is its memory, `()` where it has none; `act` is pure, so it runs in a scan;
    see `OnHost` for those that are not.
    """

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any: ...

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]: ...


@runtime_checkable
class OnHost(Protocol):
    """Capability of a controller whose `act` cannot be traced (it watches a clock, or asks a device).

    It is called with arrays that hold values, one step at a time, and its carry may be anything.
    """

    @property
    def on_host(self) -> bool: ...


@runtime_checkable
class Learner(Protocol):
    """Settings of a policy that is updated from batches (frozen, hashable): policy gradient, SAC, behavior cloning.

    Its state is one pytree of arrays, so that it moves through `jit` and into checkpoints.
    `policies.acting.Acting(learner.policy(state))` is the controller.
    """

    def init(self, spaces: Spaces, *, key: PRNGKeyArray) -> Any:
        """The state before any data.

        Raises:
            UsageError: observations or actions that it cannot learn with.
        """
        ...

    def update(self, state: Any, batch: Any, *, key: PRNGKeyArray) -> tuple[Any, dict[str, Float[Array, ""]]]:
        """The state after one step on a batch of rows (such as transitions, leading axis [B]), and what it tells."""
        ...

    def policy(self, state: Any) -> Conditional:
        """The distribution over actions given an observation."""
        ...
