"""Checks of the observations and rewards in recorded episodes."""

from collections.abc import Iterator

import numpy as np

from forethought.core import Transition
from forethought.envs.checks.findings import Finding, coordinates

LARGE = 1e6  # magnitude beyond which something is probably in the wrong unit
TINY = 1e-5  # magnitude below which something is probably in the wrong unit
OFFSET = 1e4  # ratio of mean to spread above which float32 (7 digits) cannot represent the changes
FULL_TURN = 2 * np.pi
JUMP = 0.5  # rad, tolerance of a jump around a full turn, motion within the step included
EXPLAINED = 0.99  # share of the variance above which the rest counts as noise
POORLY = 0.9  # share of the variance below which much is unexplained


def check_data(
    episodes: list[Transition], angles: tuple[int, ...], dt: float, names: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """Checks for constant, very large or offset coordinates, for angles, and for the inputs of the reward.

    A coordinate whose name ends with a unit other than rad, such as "position (m)", is not taken for an angle.
    """
    x, u, x_next, reward = (
        np.concatenate([getattr(e, name) for e in episodes]).astype(float) for name in ("x", "u", "x_next", "reward")
    )
    yield from _constant(np.vstack([x, x_next]))
    yield from _scale(np.vstack([x, x_next]))
    others = {i for i, name in enumerate(names) if name.endswith(")") and not name.endswith("(rad)")}
    yield from _angles(x, x_next, angles, others, dt)
    yield from _reward(x, u, x_next, reward)


def _constant(states: np.ndarray) -> Iterator[Finding]:
    still = np.flatnonzero(np.ptp(states, axis=0) == 0)
    if still.size == states.shape[1]:
        yield Finding("observations", "fail", "no coordinate ever changed", "check that step returns the new state")
    elif still.size:
        remedy = "harmless, but remove them if they carry no information"
        yield Finding("observations", "warn", f"{coordinates(still.tolist())} never changed", remedy)
    else:
        yield Finding("observations", "ok", "every coordinate changes")


def _scale(states: np.ndarray) -> Iterator[Finding]:
    magnitude, spread = np.abs(states).max(0), states.std(0)
    huge = np.flatnonzero(magnitude > LARGE)
    tiny = np.flatnonzero((magnitude < TINY) & (spread > 0))
    offset = np.flatnonzero((np.abs(states.mean(0)) > OFFSET * spread) & (spread > 0))
    if huge.size:
        detail = f"{coordinates(huge.tolist())} reached {magnitude[huge].max():.2g}"
        yield Finding("scale", "warn", detail, "use another unit, or end the episode before it diverges")
    if tiny.size:
        detail = f"{coordinates(tiny.tolist())} stayed below {magnitude[tiny].max():.2g}"
        yield Finding("scale", "warn", detail, "use another unit: tolerances assume numbers near 1")
    if offset.size:
        detail = f"{coordinates(offset.tolist())} vary little relative to their size: float32 rounds their changes away"
        yield Finding("scale", "warn", detail, "subtract the constant part in the environment")
    if not huge.size + tiny.size + offset.size:
        yield Finding("scale", "ok", f"largest magnitude {magnitude.max():.3g}")


def _angles(
    x: np.ndarray, x_next: np.ndarray, angles: tuple[int, ...], others: set[int], dt: float
) -> Iterator[Finding]:
    """Coordinates that jump by a full turn; and, if no angles are given, those that exceed a full turn smoothly."""
    candidates = [i for i in range(x.shape[1]) if i not in angles and i not in others]
    wrapped = [i for i in candidates if _jumps(x[:, i], x_next[:, i])]
    unwrapped = [i for i in candidates if not angles and i not in wrapped and _turns(x, x_next, i, dt)]
    for indices, what, certainty in (
        (wrapped, "jumps by 2 pi, as a wrapped angle does", ""),
        (unwrapped, "moves smoothly over more than 2 pi", "if it is an angle in radians: "),
    ):
        if indices:
            flags = " ".join(map(str, sorted([*angles, *indices])))
            yield Finding("angles", "warn", f"{coordinates(indices)} {what}", f"{certainty}pass --angles {flags}")
    if not wrapped and not unwrapped:
        known = f"{coordinates(angles)} given; " if angles else ""
        yield Finding("angles", "ok", f"{known}no other coordinate looks like an angle" if angles else "none seen")


def _jumps(x: np.ndarray, x_next: np.ndarray) -> bool:
    step = np.abs(x_next - x)
    confined = np.ptp(np.concatenate([x, x_next])) <= FULL_TURN * (1 + 1e-3)
    return bool(confined and np.median(step) < 1 and (np.abs(step - FULL_TURN) < JUMP).any())


def _turns(x: np.ndarray, x_next: np.ndarray, i: int, dt: float) -> bool:
    """Whether coordinate `i` covers more than a full turn and is the integral of another coordinate."""
    if np.ptp(np.concatenate([x[:, i], x_next[:, i]])) <= FULL_TURN:
        return False
    change, rates = x_next[:, i] - x[:, i], dt * 0.5 * (x + x_next)
    rates = np.delete(rates, i, axis=1)
    rest = ((change[:, None] - rates) ** 2).mean(0)
    return bool(rest.size and rest.min() < (1 - EXPLAINED) * change.var())


def _reward(x: np.ndarray, u: np.ndarray, x_next: np.ndarray, reward: np.ndarray) -> Iterator[Finding]:
    """Whether the reward varies, and whether state and action determine it."""
    name = "reward"
    if np.ptp(reward) == 0:
        remedy = "give a cost function, or a reward that varies under random actions"
        yield Finding(name, "warn", f"always {reward[0]:.4g} under random actions", remedy)
        return
    before, after = _explained(np.hstack([x, u]), reward), _explained(np.hstack([x_next, u]), reward)
    if before < POORLY and after > EXPLAINED:
        detail = f"depends on the state after the step ({after:.0%} explained; {before:.0%} by the state before it)"
        yield Finding(name, "warn", detail, "a cost(x, u) knows only the state before the step: it can match the mean")
    else:
        yield Finding(name, "ok", f"from {reward.min():.4g} to {reward.max():.4g}")


def _explained(z: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of `y` [N] explained by a quadratic function of `z` [N, d], on held-out rows."""
    z = (z - z.mean(0)) / (z.std(0) + 1e-12)
    rows, columns = np.triu_indices(z.shape[1])
    features = np.hstack([np.ones((len(z), 1)), z, z[:, rows] * z[:, columns]])
    if len(z) < 4 * features.shape[1]:
        return float("nan")
    weights, *_ = np.linalg.lstsq(features[::2], y[::2], rcond=None)
    return 1 - float(np.mean((y[1::2] - features[1::2] @ weights) ** 2) / max(y[1::2].var(), 1e-300))
