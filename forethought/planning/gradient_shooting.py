"""Gradient shooting: descend the gradient of the total cost by the whole action sequence.

Actions are moved in shares of their range, v = (u - middle) / scale, so that one step size suits them all, and are
projected back onto the limits after every step.  The best sequence seen is the answer, with no feedback.
Source: Adam, Kingma & Ba (2015), algorithm 1; L-BFGS with a line search, Nocedal & Wright (2006), algorithm 7.5.
Differs: L-BFGS minimises the cost at the projected actions, whose gradient vanishes in a held action; Adam keeps the
gradient there, so that a held action is released as soon as the gradient asks for it.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import LinearGaussian, Plan, Problem, Result
from forethought.planning.initial_guesses import action_scale, limits, receding_shift
from forethought.planning.rollout import follow, stage_costs
from forethought.planning.search import run_search

Method = Literal["adam", "l-bfgs"]


class GradientShootingState(eqx.Module):
    """The warm start: where the next search begins."""

    us: Float[Array, "T m"]


class GradientShootingSearch(eqx.Module):
    """Where the descent is, and the best it has seen."""

    v: Float[Array, "T m"]  # actions as shares of their scale
    memory: Any  # the optimiser's
    best: Float[Array, "T m"]  # actions
    cost: Float[Array, ""]  # of the best


@dataclass(frozen=True)
class GradientShooting:
    """Settings of gradient shooting."""

    horizon: int = 30  # steps
    iterations: int = 100  # steps of descent
    method: Method = "adam"  # how to descend: adam or l-bfgs
    step: float = 0.05  # of Adam, as a share of half the action range; L-BFGS searches for its own
    clip: float = 10.0  # norm above which a gradient is shortened, in units of the first; 0 never does

    def __post_init__(self):
        """Refuse settings that cannot work."""
        for name in ("horizon", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"GradientShooting.{name} must be at least 1, got {getattr(self, name)}.")
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise ValueError(f"GradientShooting.method must be one of {known}; got '{self.method}'.")
        if self.step <= 0:
            raise ValueError(f"GradientShooting.step must be positive, got {self.step}.")

    def init(self, problem: Problem) -> GradientShootingState:
        """Start in the middle of the action range."""
        middle, _ = action_scale(problem.task)
        return GradientShootingState(jnp.broadcast_to(middle, (self.horizon, middle.shape[0])))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: GradientShootingState, *, key: PRNGKeyArray
    ) -> tuple[Plan, GradientShootingState]:
        """The best sequence met in `iterations` steps, and the warm start for the next step."""
        return run_search(self, problem, x0, state, key=key)
