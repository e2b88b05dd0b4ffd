"""Checks of the observations and rewards in recorded episodes."""

from collections.abc import Iterator

import numpy as np

from forethought.core import Transition
from forethought.envs.checks.findings import Finding, coordinates

LARGE = 1e6  # magnitude beyond which something is probably in the wrong unit
TINY = 1e-5  # magnitude below which something is probably in the wrong unit
OFFSET = 1e4  # mean over spread beyond which float32 (7 digits) loses the changes
FULL_TURN = 2 * np.pi
JUMP = 0.5  # rad: how far from a full turn a jump may be, the movement itself included
EXPLAINED = 0.99  # share of variance
POORLY = 0.9  # share of variance


def check_data(episodes: list[Transition], angles: tuple[int, ...], dt: float) -> Iterator[Finding]:
    """Constant, huge or offset coordinates; angles; and what the reward depends on."""
    x, u, x_next, reward = (
        np.concatenate([getattr(e, name) for e in episodes]).astype(float) for name in ("x", "u", "x_next", "reward")
    )
    yield from _constant(np.vstack([x, x_next]))
    yield from _scale(np.vstack([x, x_next]))
    yield from _angles(x, x_next, angles, dt)
    yield from _reward(x, u, x_next, reward)


def _constant(states: np.ndarray) -> Iterator[Finding]:
    still = np.flatnonzero(np.ptp(states, axis=0) == 0)
    if still.size == states.shape[1]:
        yield Finding("observations", "fail", "no coordinate ever changed", "does step return the new state?")
    elif still.size:
        remedy = "harmless, but leave them out if they carry nothing"
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
        yield Finding("scale", "warn", detail, "use another unit: tolerances are meant for numbers near 1")
    if offset.size:
        detail = f"{coordinates(offset.tolist())} vary little relative to their size: float32 loses the changes"
        yield Finding("scale", "warn", detail, "subtract the constant part in the environment")
    if not huge.size + tiny.size + offset.size:
        yield Finding("scale", "ok", f"largest magnitude {magnitude.max():.3g}")


def _angles(x: np.ndarray, x_next: np.ndarray, angles: tuple[int, ...], dt: float) -> Iterator[Finding]:
    """Coordinates that jump by a full turn; and, where no angles are given, such that move smoothly beyond it."""
    candidates = [i for i in range(x.shape[1]) if i not in angles]
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
        yield Finding("angles", "ok", f"{known}no other coordinate looks like one" if angles else "none seen")


def _jumps(x: np.ndarray, x_next: np.ndarray) -> bool:
    step = np.abs(x_next - x)
    confined = np.ptp(np.concatenate([x, x_next])) <= FULL_TURN * (1 + 1e-3)
    return bool(confined and np.median(step) < 1 and (np.abs(step - FULL_TURN) < JUMP).any())


def _turns(x: np.ndarray, x_next: np.ndarray, i: int, dt: float) -> bool:
    """Whether coordinate `i` goes further than a full turn, and is the integral of another coordinate."""
    if np.ptp(np.concatenate([x[:, i], x_next[:, i]])) <= FULL_TURN:
        return False
    change, rates = x_next[:, i] - x[:, i], dt * 0.5 * (x + x_next)
    rates = np.delete(rates, i, axis=1)
    rest = ((change[:, None] - rates) ** 2).mean(0)
    return bool(rest.size and rest.min() < (1 - EXPLAINED) * change.var())


def _reward(x: np.ndarray, u: np.ndarray, x_next: np.ndarray, reward: np.ndarray) -> Iterator[Finding]:
    """Whether the reward is not constant, and whether it is determined by state and action."""
    name = "reward"
    if np.ptp(reward) == 0:
        remedy = "give a cost function, or reward progress, so that random actions tell something"
        yield Finding(name, "warn", f"always {reward[0]:.4g} under random actions", remedy)
        return
    before, after = _explained(np.hstack([x, u]), reward), _explained(np.hstack([x_next, u]), reward)
    if before < POORLY and after > EXPLAINED:
        detail = f"depends on the state after the step ({after:.0%} explained; {before:.0%} by the state before it)"
        yield Finding(name, "warn", detail, "a cost(x, u) only knows the state before: it can but follow on average")
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
