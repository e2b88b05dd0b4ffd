"""How many steps PILCO tries, predicts and counts in each round."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from forethought.algorithms.pilco_settings import HorizonSettings, ObjectiveSettings, TrialSettings
from forethought.core.data import AnyArray

TRIAL_SHARE = 0.625  # of the task's horizon: 25 of the cart-pole's 40 steps
LOW_COST = 0.25  # share of the highest cost of a step


class Schedule(NamedTuple):
    """Lengths in one round, in steps."""

    trial: int  # steps of the trial, at most
    predicted: int  # steps that the search predicts
    counted: range  # predicted states whose cost the search counts

    @property
    def mask(self) -> Bool[np.ndarray, "T1"]:
        """True for the predicted states whose cost counts."""
        return np.isin(np.arange(self.predicted + 1), self.counted)


def schedule(
    trials: TrialSettings,
    objective: ObjectiveSettings,
    horizon: HorizonSettings,
    *,
    task_horizon: int,
    searches: int,
    growths: int,
) -> Schedule:
    """The lengths in a round.

    Args:
        trials, objective, horizon: the settings of PILCO.
        task_horizon: steps in an episode of the task.
        searches: searches before this round's, the first not included.
        growths: how often the horizon has grown.
    """

    def grown(steps: int) -> int:
        return min(task_horizon, round(steps * horizon.growth**growths))

    predicted = grown(horizon.initial or task_horizon)
    trial = grown(trials.steps or max(1, round(TRIAL_SHARE * task_horizon)))
    warm = searches / max(1, horizon.warmup_rounds)
    share = min(1.0, horizon.warmup_fraction + (1 - horizon.warmup_fraction) * warm)
    return Schedule(trial, predicted, range(grown(objective.skip_first), round(share * predicted) + 1))


def horizon_grows(horizon: HorizonSettings, lengths: Schedule, cost: Float[AnyArray, "T1"]) -> bool:
    """Whether the horizon grows after a round with these lengths, given the predicted cost of a whole episode."""
    may_grow = horizon.initial is not None and lengths.predicted < len(cost) - 1
    return may_grow and ends_at_low_cost(cost[: lengths.predicted + 1])


def ends_at_low_cost(cost: Float[AnyArray, "T1"]) -> bool:
    """Whether the last quarter of the predicted steps is expected to cost little.

    One step at low cost is not enough: a system may swing past its goal just then.  Nor is a cost little above the
    lowest: far from its goal a saturating cost is flat.
    """
    cost = np.asarray(cost, np.float64)
    lowest, highest = min(0.0, float(np.min(cost))), float(np.max(cost))
    steps = len(cost) - 1
    return bool(np.mean(cost[-(steps // 4 + 1) :]) <= lowest + LOW_COST * (highest - lowest))
