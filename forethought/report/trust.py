"""Sections that say how far a learned model can be trusted, and what limits learning."""

from typing import Any

import jax
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Buffer, Transition
from forethought.dynamics.learned import LearnedDynamics
from forethought.report.exploitation import PlanComparison, compare_plans, exploitation_section
from forethought.report.limits import Limit, cost_limit, limits_section, model_limits, planner_limit
from forethought.report.missing_data import gaps, gaps_section
from forethought.report.model_sections import input_section
from forethought.report.page import Section
from forethought.report.uncertainty import uncertainty, uncertainty_section
from forethought.runs import metrics

MEASURED_ON = "Measured on the evaluation episodes."
REMEDY = (
    "There the model extrapolates: collect data there (more rounds, another base policy, or --data), or plan with a "
    "shorter --planner.horizon."
)


def trust_sections(run: Any, findings: Any, *, key: PRNGKeyArray) -> list[Section]:
    """What the report adds on a learned model: limits, exploitation, uncertainty, missing data, inputs.

    Args:
        run: whose model it is.
        findings: what the report measured: env, evaluation, problem.
        key: of searches and shuffles.
    """
    problem, env = findings.problem, findings.env
    if problem is None or findings.error is None:
        return []
    episodes = list(findings.evaluation.trajectories)
    plan_key, limit_key, input_key = jr.split(key, 3)
    planner, buffer = getattr(run.algorithm, "planner", None), buffer_of(run.state)
    replans = getattr(run.algorithm, "replans", True)
    plans = None if planner is None else compare_plans(problem, planner, episodes, whole=not replans, key=plan_key)
    sections = [limits_section(_limits(run, findings, buffer, replans, key=limit_key))]
    if plans is not None:
        sections.append(exploitation_section(plans, env.task.dt))
    found = uncertainty(problem.dynamics, env.space, episodes)
    sections.append(uncertainty_section(found, env.space.names, MEASURED_ON))
    if buffer is not None:
        sections.append(_missing(env, buffer, episodes, plans))
    if isinstance(problem.dynamics, LearnedDynamics):
        sections.append(input_section(problem.dynamics, env, episodes, key=input_key))
    return sections


def buffer_of(state: Any) -> Buffer | None:
    """The buffer of real experience in an algorithm's state; None where it has none."""
    for part in (state, *(getattr(state, name, None) for name in ("model_based", "experience"))):
        buffer = getattr(part, "buffer", None)
        if isinstance(buffer, Buffer) and isinstance(buffer.data, Transition) and int(buffer.size):
            return buffer
    return None


def _limits(run: Any, findings: Any, buffer: Buffer | None, replans: bool, *, key: PRNGKeyArray) -> list[Limit]:
    problem, planner, evaluation = findings.problem, getattr(run.algorithm, "planner", None), findings.evaluation
    found: list[Limit | None] = []
    if buffer is not None:
        found += model_limits(problem, buffer, evaluation.trajectories)
    if planner is not None:
        found.append(planner_limit(problem, planner, findings.episode, whole=not replans, key=key))
    lines = [line for line in run.metrics if line.get("solved") is not None and line.get("return") is not None]
    returns = [*(line["return"] for line in lines), *evaluation.returns]
    tests = [metrics.is_solved(findings.env, episode) for episode in evaluation.trajectories]
    if all(test is not None for test in tests):
        found.append(cost_limit(returns, [*(bool(line["solved"]) for line in lines), *map(bool, tests)]))
    return [one for one in found if one is not None]


def _missing(env: Any, buffer: Buffer, episodes: list[Transition], plans: PlanComparison | None) -> Section:
    rows = jax.tree.map(np.asarray, buffer.rows())
    data = np.concatenate([rows.x, rows.x_next])
    visited = np.concatenate([np.concatenate([e.x, e.x_next[-1:]]) for e in episodes])
    asked, what = (visited, "visited") if plans is None else (plans.states[:, : env.space.size], "planned")
    return gaps_section(gaps(env.space, data, asked), env.space, what, REMEDY)
