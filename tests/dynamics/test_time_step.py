"""The time step from recorded data: found, and a wrong claim refused with the numbers."""

import numpy as np
import pytest

from forethought.core import Transition, UsageError
from forethought.dynamics.space import StateSpace
from forethought.dynamics.time_step import check_velocities, infer_dt

DT = 0.05  # s


def pushed(n=60, *, noise=0.0, wall=np.inf, semi_implicit=False):
    """A cart under random forces: transitions of [position, velocity], seen by noisy sensors; a wall stops it."""
    rng = np.random.default_rng(0)
    x, rows = np.array([0.0, 1.0]), []
    for _ in range(n):
        u = rng.uniform(-3, 3, 1)
        faster = x[1] + DT * (u[0] - 0.1 * x[1])
        place = x[0] + DT * (faster if semi_implicit else x[1])
        after = np.array([place, faster]) if place < wall else np.array([wall, 0.0])
        rows.append((x, u, after))
        x = after
    x, u, after = (np.stack(column).astype(np.float32) for column in zip(*rows, strict=True))
    x, after = (a + (noise * rng.normal(size=a.shape)).astype(np.float32) for a in (x, after))
    flags = np.zeros(n, bool)
    return Transition(x, u, after, np.zeros(n, np.float32), flags, flags)


@pytest.mark.parametrize(
    "how",
    [{}, {"noise": 0.01}, {"wall": 0.5}, {"semi_implicit": True}],
    ids=["exact", "noisy", "wall", "semi-implicit"],
)
def test_the_time_step_is_found(how):
    steps = pushed(**how)
    assert infer_dt(((0, 1),), steps) == pytest.approx(DT, rel=0.1)
    check_velocities(StateSpace(2, velocities=((0, 1),), dt=DT), steps)


def test_angles_are_differences_on_the_circle():
    rng = np.random.default_rng(0)
    speed = rng.uniform(1, 3, 40).astype(np.float32)
    before = np.pi - rng.uniform(0.1, 0.9, 40).astype(np.float32) * DT * speed  # every step crosses from pi to -pi
    after = before + DT * speed - 2 * np.pi
    x, x_next = (np.stack([angle, speed], axis=1) for angle in (before, after))
    flags = np.zeros(40, bool)
    turning = Transition(x, np.zeros((40, 1), np.float32), x_next, np.zeros(40, np.float32), flags, flags)
    assert infer_dt(((0, 1),), turning, angles=(0,)) == pytest.approx(DT, rel=1e-3)
    with pytest.raises(UsageError, match="no single time step"):
        infer_dt(((0, 1),), turning)


@pytest.mark.parametrize("dt", [1.0, 1 / 30, 0.1])
def test_a_wrong_time_step_is_refused_with_the_numbers(dt):
    space = StateSpace(2, velocities=((0, 1),), dt=dt, names=("position (m)", "velocity (m/s)"))
    words = r"do not fit the time step of .*position .*changes by 0\.0(49|5|51).* s times velocity .*--dt"
    with pytest.raises(UsageError, match=words):
        check_velocities(space, pushed())


def test_pairs_that_contradict_each_other_and_rest_give_no_time_step():
    with pytest.raises(UsageError, match="no single time step"):
        infer_dt(((1, 0),), pushed())  # exchanged
    at_rest = pushed()
    at_rest = Transition(
        *(np.zeros_like(a) for a in (at_rest.x, at_rest.u, at_rest.x_next)),
        *(at_rest.reward, at_rest.terminated, at_rest.truncated),
    )
    with pytest.raises(UsageError, match="cannot be inferred"):
        infer_dt(((0, 1),), at_rest)
