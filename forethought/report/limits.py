"""What limits learning now: data, model, planner or cost, each with a number and the setting to change.

data     one-step error on new episodes / error on the model's own data: above 1, more data would reduce the error
model    one-step error on the model's own data (1 is about as bad as guessing): what more data will not reduce
planner  improvement of the predicted return of plans by four times the search
cost     share of pairs of a solved and an unsolved episode in which the unsolved one has the higher return
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Buffer, Planner, Problem, Transition
from forethought.dynamics.learned import LearnedDynamics, one_step_error
from forethought.envs.episode import join_pieces
from forethought.report.page import Section, Table
from forethought.report.plan_prediction import predict_plan
from forethought.report.record import number

GENERALIZATION, TRAIN_ERROR, SEARCH, RANKING = 1.5, 0.3, 0.1, 0.1  # from which each counts as a limit
STARTS = 3  # states from which longer searches are tried
WORK = 4  # factor of the longer search
_WORK_FIELDS = ("iterations", "population", "samples", "starts")  # settings that decide how long a planner searches


@dataclass(frozen=True)
class Limit:
    """One possible limit."""

    what: str  # data | model | planner | cost
    value: float  # NaN where it could not be measured
    threshold: float  # from which it counts
    meaning: str
    setting: str  # to change

    @property
    def counts(self) -> bool:
        """Whether it limits learning."""
        return bool(self.value > self.threshold)


def model_limits(problem: Problem, buffer: Buffer, episodes: Sequence[Transition]) -> list[Limit]:
    """The limits by data and by model; `buffer` holds the data that the model was fitted to."""
    if not isinstance(problem.dynamics, LearnedDynamics):
        return []
    own = float(one_step_error(problem.dynamics, _some(buffer), buffer))
    new = float(one_step_error(problem.dynamics, join_pieces(episodes), buffer))
    return [
        Limit(
            "data",
            new / max(own, 1e-9),
            GENERALIZATION,
            f"one-step error on new episodes ({new:.3g}) divided by that on the model's own data ({own:.3g})",
            "more experience (--iterations, --env-steps, or --data); see where data are missing",
        ),
        Limit(
            "model",
            own,
            TRAIN_ERROR,
            "one-step error on the model's own data, in standard deviations of the changes (1: guessing)",
            "--model.hidden, --model.max-updates, another --model, or the angles of the state (--angles)",
        ),
    ]


def planner_limit(
    problem: Problem, planner: Planner, episode: Transition, *, whole: bool = False, key: PRNGKeyArray
) -> Limit | None:
    """The improvement of plans by a longer search; None for a planner without a setting for it.

    With `whole`, only the plan from the beginning of the episode is examined.
    """
    name = next((name for name in _WORK_FIELDS if isinstance(getattr(planner, name, None), int)), None)
    if name is None:
        return None
    longer: Any = replace(planner, **{name: WORK * getattr(planner, name)})  # type: ignore[type-var]
    gained: list[float] = []
    size: list[float] = []
    for start, one_key in zip([0] if whole else _starts(episode), jr.split(key, STARTS), strict=False):
        short, long = (
            float(predict_plan(problem, one, episode, start=start, key=one_key).reward[1, -1])
            for one in (planner, longer)
        )
        gained.append(long - short)
        size.append(abs(short))
    value = float(np.mean(gained)) / max(float(np.mean(size)), 1e-9)
    meaning = (
        f"mean improvement of the predicted return of {len(gained)} plans by {WORK} times the {name}, as a share of it"
    )
    return Limit("planner", value, SEARCH, meaning, f"--planner.{name}, or another --planner")


def cost_limit(returns: Sequence[float], solved: Sequence[bool]) -> Limit:
    """Whether the return ranks solved episodes above others."""
    good = np.array([r for r, s in zip(returns, solved, strict=True) if s])
    bad = np.array([r for r, s in zip(returns, solved, strict=True) if not s])
    value = float(np.mean(bad[:, None] > good[None])) if len(good) and len(bad) else float("nan")
    meaning = (
        f"share of pairs of a solved and an unsolved episode ({len(good)} and {len(bad)}) in which the unsolved one "
        "has the higher return"
    )
    setting = "the cost (--cost), which must be lower in better episodes; --final-weight, or a longer --planner.horizon"
    return Limit("cost", value, RANKING, meaning, setting)


def limits_section(found: Sequence[Limit]) -> Section:
    """A table of the limits, and a sentence that names those that count."""
    counting = [one.what for one in found if one.counts]
    unknown = [one.what for one in found if not np.isfinite(one.value)]
    first = f"Learning is limited by: {', '.join(counting)}." if counting else "None of the tests finds a limit."
    if unknown:
        first += f" Not measured: {', '.join(unknown)} (solved and unsolved episodes are both needed)."
    rows = [
        [
            one.what,
            number(one.value, 3),
            f"above {one.threshold:g}",
            "yes" if one.counts else "no",
            one.meaning,
            one.setting,
        ]
        for one in found
    ]
    head = ("limit", "number", "counts", "limits now", "meaning", "setting to change")
    return Section("What limits learning", text=[first], table=Table(head, rows))


def _some(buffer: Buffer, most: int = 2048) -> Transition:
    """Rows of the data, at most `most`, evenly spread."""
    places = np.unique(np.linspace(0, int(buffer.size) - 1, min(most, int(buffer.size))).astype(int))
    return jax.tree.map(lambda a: np.asarray(a)[places], buffer.data)


def _starts(episode: Transition) -> list[int]:
    return sorted({len(episode) * i // STARTS for i in range(STARTS)})
