"""Possible problems of a run, in words, each with the numbers behind it and what to try."""

from dataclasses import dataclass

import numpy as np

from forethought.report.curves import Baseline, Curve
from forethought.report.diagnostics import LEVELS, Calibration, ModelError
from forethought.report.plan_prediction import PlanPrediction


@dataclass(frozen=True)
class Evidence:
    """What the report measured; None (or empty) for what it could not measure."""

    curve: Curve
    mean_return: float | None = None  # of the evaluation episodes
    baseline: Baseline | None = None
    saturation: float | None = None  # share of actions at a limit
    error: ModelError | None = None
    calibration: Calibration | None = None
    plans: tuple[PlanPrediction, ...] = ()
    real_reward: np.ndarray | None = None  # [T] of the episode that the plans belong to
    reward_is_learned: bool = False


def hints(evidence: Evidence) -> list[str]:
    """One or two sentences for each possible problem."""
    checks = (
        _not_better_than_random,
        _stalled,
        _model_worse,
        _horizon_too_long,
        _confidence,
        _reward,
        _optimism,
        _limits,
    )
    return [hint for check in checks if (hint := check(evidence))]


def _not_better_than_random(evidence: Evidence) -> str | None:
    mean, baseline = evidence.mean_return, evidence.baseline
    if mean is None or baseline is None or mean > baseline.mean + baseline.std:
        return None
    return (
        f"The controller's mean return ({mean:.4g}) is no better than one standard deviation above that of random "
        f"actions ({baseline.mean:.4g} ± {baseline.std:.2g}). It may need more experience, or the cost may give too "
        "little guidance toward the goal."
    )


def _stalled(evidence: Evidence) -> str | None:
    returns = evidence.curve.returns[np.isfinite(evidence.curve.returns)]
    if len(returns) < 9 or evidence.curve.solved[-3:].any():
        return None
    middle, last = _thirds(returns)
    if last.mean() > middle.mean() + 0.1 * (returns.max() - returns.min()):
        return None
    return (
        f"The return has stopped rising: {middle.mean():.4g} on average over the middle third of the rounds, "
        f"{last.mean():.4g} over the last third. This may be the best that these settings can reach, or another "
        "problem listed here prevents progress."
    )


def _model_worse(evidence: Evidence) -> str | None:
    errors = evidence.curve.model_error[np.isfinite(evidence.curve.model_error)]
    if len(errors) < 6:
        return None
    middle, last = _thirds(errors)
    if np.median(last) < 1.5 * np.median(middle):
        return None
    return (
        f"The model error grew from {np.median(middle):.2g} (median of the middle third) to "
        f"{np.median(last):.2g} (last third). The controller may be reaching states that the model has not seen, "
        "or the model may be too small for the data."
    )


def _horizon_too_long(evidence: Evidence) -> str | None:
    error = evidence.error
    if error is None:
        return None
    useless = np.flatnonzero(~(error.rmse < error.unchanged))
    if not useless.size:
        return None
    step = int(useless[0]) + 1
    return (
        f"From {step} step{'s' if step > 1 else ''} ahead, the model's error is as large as that of predicting no "
        "change at all, so that longer plans are unreliable. More data, a larger model, or a shorter planning horizon "
        "may help."
    )


def _confidence(evidence: Evidence) -> str | None:
    calibration = evidence.calibration
    if calibration is None:
        return None
    bias = calibration.bias(1)
    if not abs(bias) > 0.1:
        return None
    inside = 100 * calibration.pooled(1)[int(np.argmin(np.abs(LEVELS - 0.9)))]
    if bias < 0:
        return (
            f"The model is overconfident: its 90% intervals contain {inside:.0f}% of the observed values one step "
            "ahead. A planner may exploit such errors; more ensemble members, earlier stopping or more data may help."
        )
    return (
        f"The model is underconfident: its 90% intervals contain {inside:.0f}% of the observed values one step ahead. "
        "Longer training may help; this seldom harms planning."
    )


def _reward(evidence: Evidence) -> str | None:
    error = evidence.error
    if error is None or not evidence.reward_is_learned or error.scale[-1] == 0:
        return None
    share = error.per_coordinate[0, -1] / error.scale[-1]
    if share < 0.5:
        return None
    return (
        f"The error of the learned reward is {100 * share:.0f}% of the reward's standard deviation one step ahead. If "
        "the reward is a known function of state and action, pass it as the cost (--cost): then it is not learned."
    )


def _optimism(evidence: Evidence) -> str | None:
    if evidence.real_reward is None or not evidence.plans:
        return None
    total = np.append(0, np.cumsum(evidence.real_reward))
    missed = []
    for plan in evidence.plans:
        steps = min(plan.reward.shape[1], len(total) - plan.start) - 1
        missed.append(plan.reward[0, steps] > total[plan.start + steps] - total[plan.start])
    if np.mean(missed) <= 0.5:
        return None
    return (
        f"{sum(missed)} of {len(missed)} plans predicted more reward than was obtained: even the 5th percentile of "
        "their particles was higher. The planner may exploit errors of the model."
    )


def _limits(evidence: Evidence) -> str | None:
    if evidence.saturation is None or evidence.saturation < 0.5:
        return None
    return (
        f"{100 * evidence.saturation:.0f}% of the actions were at a limit. If the task does not require that, the "
        "action limits may be too tight, or a small action cost may help."
    )


def _thirds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle and the last third."""
    third = len(values) // 3
    return values[-2 * third : -third], values[-third:]
