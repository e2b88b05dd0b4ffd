"""The manifest of an export: what the controller takes and gives, in which units and within which limits."""

from typing import Any

import numpy as np

from forethought.core import Box, Controller
from forethought.core.delay import resting_action
from forethought.export.deployable import Deployable, Prepared
from forethought.export.parity import ranges_of
from forethought.export.standalone import FORMAT
from forethought.policies.acting import Acting
from forethought.policies.observing import Observing
from forethought.runs.directory import now
from forethought.runs.provenance import hardware, versions
from forethought.runs.run import Run
from forethought.tasks.learned_task import FromObservation


def manifest_of(
    run: Run, source: Deployable, forms: dict[str, dict[str, Any]], left_out: dict[str, str]
) -> dict[str, Any]:
    """The manifest of an export, without the digests of its files.

    Args:
        run: whose controller is exported.
        source: the controller.
        forms: what is said of each form.
        left_out: forms that the controller does not have, and why.
    """
    info, env = run.info, run.env
    fallback = np.asarray(source.fallback)
    return {
        "format": FORMAT,
        "created": now(),
        "controller": _kind(source.controller),
        "trained_with": {
            "algorithm": type(run.algorithm).__name__,
            "environment": env.name,
            "seed": info["seed"],
            "round": run.progress.iteration,
            "env_steps": run.progress.env_steps,
        },
        "time_step_s": float(env.task.dt),
        "horizon_steps": int(env.task.horizon),
        "observation": _observation(source, env.space),
        "action": _action(source, fallback),
        "delay": _delay(source),
        "fallback": {
            "action": fallback.tolist(),
            "when": "the observation has an entry that is NaN, infinite or out of range, or the action is not finite",
            "memory": "unchanged, except for the past actions",
        },
        "forms": forms,
        "left_out": left_out,
        "versions": versions(),
        "hardware": hardware(),
    }


def _kind(controller: Controller) -> str:
    """The kind of controller, in words."""
    name = type(controller).__name__
    if isinstance(controller, Prepared):
        return f"SquashedPolicy with {type(controller.policy.function).__name__}"
    if isinstance(controller, FromObservation):
        return _kind(controller.inner)
    if isinstance(controller, Acting | Observing):
        return type(controller.policy).__name__
    planner = getattr(controller, "planner", None)
    return name if planner is None else f"{name} with {type(planner).__name__}"


def _observation(source: Deployable, space: Any) -> dict[str, Any]:
    about = source.observations
    found: dict[str, Any] = {"shape": list(about.shape), "dtype": about.dtype}
    if about.counts is not None:
        found["counts"] = [int(n) for n in np.ravel(about.counts)]
    if about.is_vector:
        found["coordinates"] = [_named(name) for name in space.names[: about.size]]
        found["angles"] = list(about.angles)
    return found


def _action(source: Deployable, fallback: np.ndarray) -> dict[str, Any]:
    actions = source.actions
    found: dict[str, Any] = {"shape": list(fallback.shape), "dtype": str(fallback.dtype)}
    if not isinstance(actions, Box):
        return found | {"choices": actions.n, "range": 1.0}
    limits = {"low": np.asarray(actions.low).tolist(), "high": np.asarray(actions.high).tolist()}
    return found | {
        "coordinates": [_named(name) for name in actions.names],
        **limits,
        "range": ranges_of(actions).tolist(),
    }


def _delay(source: Deployable) -> dict[str, Any] | None:
    if source.delay is None:
        return None
    return {
        "steps": source.delay.steps,
        "past_actions": source.delay.slots,
        "largest_change": None if source.delay.change is None else list(source.delay.change),
        "initial_action": np.asarray(resting_action(source.actions)).tolist(),
        "meaning": (
            "steps: from the time of an observation to the time when the action chosen for it acts; "
            "largest_change: of each coordinate of the action between two steps"
        ),
    }


def _named(name: str) -> dict[str, str | None]:
    """A name such as "cart position (m)", and its unit."""
    base, bracket, unit = name.rpartition(" (")
    return (
        {"name": base, "unit": unit.removesuffix(")")}
        if bracket and name.endswith(")")
        else {"name": name, "unit": None}
    )
