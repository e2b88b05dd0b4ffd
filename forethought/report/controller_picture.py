"""The plot of a linear-Gaussian controller along its trajectory: predicted states, actions, and exploration.

Symbols: u_t ~ N(K_t x_t + k_t, S_t); the states are Gaussian at every step, x_t ~ N(mean_t, P_t).
    exploration of an action       sqrt(diag S_t)
    spread of an action            sqrt(diag(K_t P_t K_t' + S_t)), with the feedback to the spread of the states
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forethought.core import Gaussian, LinearGaussian, Quadratic, UsageError, require_box
from forethought.core.precision import in_float64
from forethought.planning.lqr import solve_lqr
from forethought.planning.trust_region import state_marginals
from forethought.report.page import Picture, Section
from forethought.report.plots import INK, MUTED, SERIES, drawn
from forethought.runs.files import write_whole
from forethought.runs.run import load

PANEL = (3.1, 2.1)  # inches
COLUMNS = 3
PANELS = 11  # coordinates and actions shown, at most
STDS = 2.0  # of the bands
TEXTBOOK_DT = 0.05  # s


@dataclass(frozen=True)
class Spread:
    """One coordinate of the states or actions, over the steps."""

    name: str
    mean: Float[np.ndarray, "S"]
    std: Float[np.ndarray, "S"]
    exploration: Float[np.ndarray, "S"] | None = None  # of actions
    limits: tuple[float, float] = (-np.inf, np.inf)


@dataclass(frozen=True)
class ControllerSpread:
    """Everything that the picture shows of one controller."""

    states: Sequence[Spread]
    actions: Sequence[Spread]
    dt: float
    targets: Sequence[tuple[float, float]] = ()  # (time, value) of the first coordinate


def plot_controller(run: "str | Path | Any | None" = None, *, out: str | Path = "controller.svg") -> Path:
    """Plot the local controller of `run` for its first initial condition, or without a run a textbook example.

    The example is the maximum-entropy LQR controller of a point mass that has to be at two places at two times.

    Args:
        run: a run whose algorithm has linear-Gaussian controllers (local-models, gps), or its directory.
        out: the file, .svg or .png.
    Raises:
        UsageError: the run has no such controllers, or there is no directory to write to.
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise UsageError(f"plot: there is no directory '{target.parent}'.")
    image_format = target.suffix.removeprefix(".") or "svg"
    spread = textbook() if run is None else spread_of(load(run) if isinstance(run, str | Path) else run)
    if spread is None:
        raise UsageError(f"{run} has no linear-Gaussian controllers; runs of local-models and gps have.")
    write_whole(target, controller_picture(spread, image_format))
    return target


def controller_sections(run: Any) -> list[Section]:
    """The section of the report of `run`, if its algorithm has linear-Gaussian controllers."""
    local, spread = _local(run.state), spread_of(run)
    if local is None or spread is None:
        return []
    caption = (
        f"The controller of initial condition 1 of {local.policies.f.shape[0]}, under the local dynamics: mean and two "
        "standard deviations. Orange: the exploration alone, without the feedback to the spread of the states. Last "
        "panel: its standard deviation. It is large where the cost of an action, and of all that follows, is flat."
    )
    return [Section("Local controller", pictures=[Picture(controller_picture(spread), caption, size="wide")])]


def spread_of(run: Any) -> ControllerSpread | None:
    """The controller of the first initial condition; None if there is none, or before the first round."""
    local = _local(run.state)
    if local is None or not np.any(np.asarray(local.xs)):
        return None
    box = require_box(run.env.task.action_space, "plot controller")
    with jax.enable_x64(True):
        first = in_float64(jax.tree.map(lambda a: a[0], (local.policies, local.dynamics, local.xs)))
        policy, dynamics, xs = first
        names = run.env.space.names, box.names
        return controller_spread(policy, dynamics, Gaussian.point(xs[0]), names, float(run.env.task.dt), box)


def _local(state: Any) -> Any | None:
    """The local controllers and dynamics of an algorithm's state: its own, or those of its part `local`."""
    local = getattr(state, "local", state)
    return local if all(hasattr(local, name) for name in ("policies", "dynamics", "xs")) else None


def controller_spread(
    policy: LinearGaussian,
    dynamics: LinearGaussian,
    initial: Gaussian,
    names: tuple[Sequence[str], Sequence[str]],
    dt: float,
    box: Any = None,
) -> ControllerSpread:
    """Means and standard deviations of states and actions under a controller stacked [T].

    Args:
        policy, dynamics, initial: the controller, over x; the dynamics, over [x; u]; the initial states.
        names: of the states and of the actions.
        dt: seconds per step.
        box: the limits of the actions, drawn but not applied; None for none.
    """
    marginals = jax.jit(state_marginals)(policy, dynamics, initial)
    xs, covs = np.asarray(marginals.mean), np.asarray(marginals.cov)
    K, k, S = (np.asarray(a) for a in (policy.F, policy.f, policy.cov))
    us = np.einsum("tmn,tn->tm", K, xs[:-1]) + k
    std = _stds(np.einsum("tmi,tij,tlj->tml", K, covs[:-1], K) + S)
    explored, state_std = _stds(S), _stds(covs)
    limits = np.full((us.shape[1], 2), [-np.inf, np.inf]) if box is None else np.stack([box.low, box.high], axis=1)
    bounds = [(float(low), float(high)) for low, high in limits]
    states = [Spread(name, xs[:, i], state_std[:, i]) for i, name in enumerate(names[0])]
    actions = [Spread(name, us[:, j], std[:, j], explored[:, j], bounds[j]) for j, name in enumerate(names[1])]
    return ControllerSpread(states, actions, dt)


def textbook() -> ControllerSpread:
    """The maximum-entropy LQR controller of the example."""
    with jax.enable_x64(True):
        dynamics, cost, final, initial = textbook_problem()
        policy = solve_lqr(dynamics, cost, final, max_entropy=True).policy
        names = ("position (m)", "velocity (m/s)"), ("force (N)",)
        spread = controller_spread(policy, dynamics, initial, names, TEXTBOOK_DT)
    return replace(spread, targets=[(2.5, 1.0), (5.0, 0.0)])


def textbook_problem() -> tuple[LinearGaussian, Quadratic, Quadratic, Gaussian]:
    """A point mass of 1 kg that has to be at 1 m after 2.5 s and at rest at 0 after 5 s; the force costs little.

    Dynamics over [x; u], cost of the steps, final cost, initial state; float64.
    """
    steps, dt = 100, TEXTBOOK_DT
    stacked = lambda a: jnp.broadcast_to(jnp.asarray(a, float), (steps, *np.shape(a)))  # noqa: E731
    F = np.array([[1.0, dt, 0.5 * dt**2], [0.0, 1.0, dt]])
    dynamics = LinearGaussian(stacked(F), stacked(np.zeros(2)), stacked(np.diag([0.0, 1e-4])))
    weight = np.where(np.arange(steps) == steps // 2, 1e4, 0.0)
    C, c = np.zeros((steps, 3, 3)), np.zeros((steps, 3))
    C[:, 0, 0], C[:, 2, 2] = weight, 0.02
    c[:, 0] = -weight  # the target is 1 m
    cost = Quadratic(jnp.asarray(C), jnp.asarray(c), jnp.asarray(0.5 * weight))
    final = Quadratic(jnp.diag(jnp.array([1e4, 1e3])), jnp.zeros(2), jnp.zeros(()))
    return dynamics, cost, final, Gaussian.point(jnp.zeros(2))


def controller_picture(spread: ControllerSpread, image_format: str = "svg") -> bytes:
    """A panel for each coordinate and action, and one for exploration."""
    actions = spread.actions[: max(PANELS - len(spread.states), PANELS // 2)]
    shown = [*spread.states[: PANELS - len(actions)], *actions]
    rows = -(-(len(shown) + 1) // COLUMNS)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for one, axes in zip(shown, panels, strict=False):
            _draw_spread(axes, one, spread.dt)
        for time, value in spread.targets:
            panels[0].plot(time, value, color=INK, marker="o", markersize=5, linestyle="none")
        _draw_exploration(panels[len(shown)], spread)
        for axes in panels[len(shown) + 1 :]:
            axes.set_axis_off()
        figure.legend(*panels[len(shown) - 1].get_legend_handles_labels(), loc="outside upper center", ncols=4)

    return drawn(draw, PANEL[0] * COLUMNS, PANEL[1] * rows + 0.4, image_format)


def _draw_spread(axes: Axes, one: Spread, dt: float) -> None:
    seconds = dt * np.arange(len(one.mean))
    kinds = [(one.std, SERIES[0], "two standard deviations")]
    if one.exploration is not None:
        kinds.append((one.exploration, SERIES[1], "exploration alone"))
    for std, color, label in kinds:
        axes.fill_between(
            seconds, one.mean - STDS * std, one.mean + STDS * std, color=color, alpha=0.25, linewidth=0, label=label
        )
    axes.plot(seconds, one.mean, color=SERIES[0], linewidth=1.4, label="mean")
    inside = axes.get_ylim()
    for limit in one.limits:
        if inside[0] <= limit <= inside[1]:
            axes.axhline(limit, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlabel="time (s)", ylabel=one.name)
    axes.margins(x=0.02)


def _draw_exploration(axes: Axes, spread: ControllerSpread) -> None:
    for number, one in enumerate(spread.actions):
        assert one.exploration is not None
        color = SERIES[1] if len(spread.actions) == 1 else SERIES[number % len(SERIES)]
        axes.plot(spread.dt * np.arange(len(one.exploration)), one.exploration, color=color, linewidth=1.4)
    one_action = len(spread.actions) == 1
    axes.set(xlabel="time (s)", ylabel="std of exploration" if one_action else "std of exploration, every action")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)


def _stds(covs: Float[np.ndarray, "S n n"]) -> Float[np.ndarray, "S n"]:
    return np.sqrt(np.maximum(np.diagonal(covs, axis1=1, axis2=2), 0))
