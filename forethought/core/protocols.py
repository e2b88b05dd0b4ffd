"""The protocols of models, tasks, planners and controllers, and the values that they exchange.

Symbols: state `x` [n], action `u` [m] in task units, step index `t`, planning horizon `T`, cost `c(x, u, t)`
(minimized; only environments use the reward, which is its negative).

Signatures are unbatched: the caller uses `jax.vmap`.  `draw(key)` represents epistemic uncertainty: it samples one
function from a model's posterior.  `.sample(key)` of the distribution that such a function returns represents
aleatoric uncertainty (noise).
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
        """Log-density at `y`, or log-probability of a discrete `y`, in nats."""
        ...


@runtime_checkable
class Continuous(Distribution, Protocol):
    """Capability of a distribution over real numbers [n]: its mean and covariance."""

    @property
    def mean(self) -> Float[Array, "n"]: ...

    @property
    def cov(self) -> Float[Array, "n n"]: ...

    @property
    def std(self) -> Float[Array, "n"]: ...


@runtime_checkable
class HasMode(Protocol):
    """Capability of a distribution: its most probable value."""

    @property
    def mode(self) -> Shaped[Array, "*n"]: ...


@runtime_checkable
class Conditional(Protocol):
    """`p(y | z)`: a Gaussian process, a network, an ensemble, a table, a memoryless policy."""

    def __call__(self, z: Shaped[Array, "*d"], /) -> Distribution:
        """The predictive distribution of `y`, with the uncertainty about the function integrated out."""
        ...

    def draw(self, *, key: PRNGKeyArray) -> "Conditional":
        """One function sampled from the posterior, noise included.  A model without a posterior returns itself."""
        ...


@runtime_checkable
class ContinuousConditional(Protocol):
    """A `Conditional` over real numbers: a fitted regression."""

    def __call__(self, z: Float[Array, "d"], /) -> Continuous:
        """The predictive distribution of `y` [e]."""
        ...

    def draw(self, *, key: PRNGKeyArray) -> "ContinuousConditional":
        """As in `Conditional`."""
        ...


@runtime_checkable
class FitReport(Protocol):
    """The report of a fit, which every model's `fit` returns together with the fitted model."""

    @property
    def result(self) -> Any:
        """Whether the fit is usable: a `Result`, or its integer, or an array of that."""
        ...

    @property
    def metrics(self) -> dict[str, float]:
        """Named numbers for the record of a run, `metrics.jsonl`."""
        ...


@runtime_checkable
class Regression(Protocol):
    """Settings of a model (frozen, hashable) that is fitted to data: `p(y | z)` from rows of z [N, d] and y [N, e]."""

    def init(self, d: int, e: int, *, key: PRNGKeyArray) -> Any:
        """The `Conditional` before it is fitted."""
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
    """Capability of dynamics without noise: many open-loop rollouts at once, as by a simulator with its own threads."""

    def simulate(self, x0: Float[Array, "n"], us: Float[Array, "S T m"]) -> Float[Array, "S T+1 n"]:
        """The states from `x0` on under each of S action sequences."""
        ...


@runtime_checkable
class HasLinearize(Protocol):
    """Capability of dynamics with derivatives of their own, analytic or from a simulator."""

    def linearize(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
        """The linearization of the dynamics at `z = [x; u]`: F [n, n+m], f [n], cov [n, n]."""
        ...


@runtime_checkable
class HasMoments(Protocol):
    """Capability of a conditional: the moments of its output for a Gaussian input, in closed form."""

    def moments(self, p: Gaussian) -> LinearGaussian:
        """The affine conditional with the moments of y [e] for `z ~ p` [d], and with `F = E[dy/dz]`."""
        ...


@runtime_checkable
class HasCostMoments(Protocol):
    """Capability of a task: mean and variance of its cost for a Gaussian state and action."""

    def cost_moments(
        self, p: Gaussian, t: Int[Array, ""], *, smoothing: Float[Array, ""] | float = 0.0
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Mean and variance of `cost(x, u, t)` for `[x; u] ~ p`.

        `smoothing`: standard deviation of noise added to the quantity that the cost measures (such as a distance), in
        the unit of that quantity.  It widens a narrow cost, so that the gradient does not vanish far from the goal.
        """
        ...


@runtime_checkable
class HasInitialStates(Protocol):
    """Capability of a task with a fixed set of initial states; `initial` returns one of them, chosen by its key.

    Environments accept the reset option "condition", the index of an initial state.
    """

    @property
    def initial_states(self) -> Float[Array, "C n"]: ...


@runtime_checkable
class Task(Protocol):
    """Cost, terminal states, initial states and action space; an environment and all its models share one task."""

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
        """Whether the trajectory solves the task; None if the task defines no test of success."""
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
    """An optimal-control problem: the dynamics of a system, and the task.

    `t0` is the step index at which planning starts; dynamics and costs may depend on time.  It is an array, so that a
    new start time causes no recompilation.
    """

    dynamics: Dynamics
    task: Task
    t0: Int[Array, ""] = eqx.field(default=0, converter=_step_index)

    def __check_init__(self) -> None:
        """Check that dynamics with a time step have the task's."""
        dt, expected = getattr(self.dynamics, "dt", None), getattr(self.task, "dt", None)
        if not (isinstance(dt, float) and isinstance(expected, float)):
            return  # there is no time step to compare, or it is traced
        if not math.isclose(dt, expected, rel_tol=1e-6):
            name = type(self.dynamics).__name__
            raise ValueError(f"{name} has steps of {dt} s, and the task has steps of {expected} s; give both one dt.")

    def times(self, steps: int) -> Int[Array, "steps"]:
        """The step indices of a plan: t0, t0 + 1, ..."""
        return self.t0 + jnp.arange(steps)

    def starting_at(self, t: Any) -> "Problem":
        """The same problem with planning from step `t` on."""
        return Problem(self.dynamics, self.task, t)


class Choices(eqx.Module):
    """The policy of a plan for discrete actions: one choice for each step, independent of the state."""

    f: Int[Array, "T"]


class Plan(eqx.Module):
    """The answer of a planner: a time-varying linear-Gaussian controller and the predicted states.

    `policy` is stacked [T]: `u_t ~ N(F_t x_t + f_t, cov_t)`; a plan without feedback has `F = 0`, and one for discrete
    actions is a sequence of choices.  `cost` is the expected cost of exactly this policy.
    """

    policy: LinearGaussian | Choices
    xs: Float[Array, "{policy.f.shape[0]}+1 n"]
    cost: Float[Array, ""]
    result: Int[Array, ""]
    action_space: Box | Discrete
    iterations: Int[Array, ""] | None = None  # of the planner, if the number varies

    @property
    def us(self) -> Shaped[Array, "T *m"]:
        """The planned actions along the planned states."""
        if isinstance(self.policy, Choices):
            return self.policy.f
        return jnp.einsum("tmn,tn->tm", self.policy.F, self.xs[:-1]) + self.policy.f

    def act(self, x: Float[Array, "n"], t: Int[Array, ""] | int) -> Shaped[Array, "*m"]:
        """The action in state `x` at step `t` of the plan, counted from 0, within the limits."""
        if isinstance(self.policy, Choices):
            return self.action_space.clip(self.policy.f[t])
        return self.action_space.clip(jnp.sum(self.policy.F[t] * x[None], axis=1) + self.policy.f[t])


@runtime_checkable
class Planner(Protocol):
    """Settings of a planner (frozen, hashable); its state `S` carries the warm start."""

    def init(self, problem: Problem) -> Any: ...

    def plan(self, problem: Problem, x0: Float[Array, "n"], state: Any, *, key: PRNGKeyArray) -> tuple[Plan, Any]: ...


@runtime_checkable
class Controller(Protocol):
    """Chooses actions.  `carry` is its memory, `()` if it has none.  `act` is pure, so it can run inside a scan; a
    controller whose `act` is not pure is an `OnHost`.
    """

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any: ...

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]: ...


@runtime_checkable
class OnHost(Protocol):
    """Marks a controller whose `act` JAX cannot trace, because it reads a clock or a device.

    It is called with concrete arrays, one step at a time, and its carry may be any object.
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
        """The initial state, before any update.

        Raises:
            UsageError: the learner does not support these observations or actions.
        """
        ...

    def update(self, state: Any, batch: Any, *, key: PRNGKeyArray) -> tuple[Any, dict[str, Float[Array, ""]]]:
        """The state after one update on a batch of rows (such as transitions, leading axis [B]), and its metrics."""
        ...

    def policy(self, state: Any) -> Conditional:
        """The distribution over actions given an observation."""
        ...
