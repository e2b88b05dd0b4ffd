"""A control loop that keeps its rate, and planning in the background.  Standard library only.

    loop = ControlLoop(read, controller.act, write, period_s=0.02)
    print(loop.run(steps=1000))

`ControlLoop` calls `read`, `act` and `write` once in each period and counts missed deadlines.  `BackgroundPlanner` acts
on the current plan while another thread computes the next one, for controllers that need longer than a period.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class LoopReport:
    """The timing of a loop; a step starts with `read` and ends when `write` has returned."""

    steps: int = 0  # steps done
    missed: int = 0  # steps that ended after their period
    skipped: int = 0  # periods in which no step began, because an earlier one had not ended
    seconds: list[float] = field(default_factory=list)  # duration of each step
    late_s: float = 0.0  # largest time by which a step ended after its period

    @property
    def longest_s(self) -> float:
        """The longest step."""
        return max(self.seconds, default=0.0)

    def __str__(self) -> str:
        """In one line."""
        return (
            f"{self.steps} steps, {self.missed} missed deadlines (latest {1e3 * self.late_s:.3g} ms), "
            f"{self.skipped} skipped periods, longest step {1e3 * self.longest_s:.3g} ms"
        )


class ControlLoop:
    """Calls `write(act(read()))` once in each period.

    Step k is due at the start plus k periods.  A step that ends after its period is a missed deadline.  The next step
    then begins at the next multiple of the period, so that the rate stays and no burst of late steps follows; the
    periods in between are skipped.
    """

    def __init__(
        self,
        read: Callable[[], Any],
        act: Callable[[Any], Any],
        write: Callable[[Any], Any],
        *,
        period_s: float,
        on_miss: Callable[[LoopReport], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """Raises `ValueError` for a period that is not positive.

        Args:
            read: returns the observation.
            act: returns the action for an observation.
            write: sends an action to the actuators.
            period_s: time from one step to the next, s.
            on_miss: called after each missed deadline; it may raise an exception to stop the loop.
            clock: time in s.
            sleep: waits for a time in s.
        """
        if not period_s > 0:
            raise ValueError(f"period_s must be positive, got {period_s}.")
        self._read, self._act, self._write, self._on_miss = read, act, write, on_miss
        self._clock, self._sleep, self.period_s = clock, sleep, period_s

    def run(self, steps: int, stop: Callable[[], bool] = lambda: False) -> LoopReport:
        """`steps` steps, fewer if `stop()` becomes true; the report of their timing."""
        report, start, period = LoopReport(), self._clock(), 0
        while report.steps < steps and not stop():
            self._wait_until(start + period * self.period_s)
            began = self._clock()
            self._write(self._act(self._read()))
            ended = self._clock()
            report.steps += 1
            report.seconds.append(ended - began)
            late = ended - (start + (period + 1) * self.period_s)
            period += 1
            if late > 0:
                behind = int(late // self.period_s) + 1 if late % self.period_s else int(late / self.period_s)
                period, report.skipped = period + behind, report.skipped + behind
                report.missed, report.late_s = report.missed + 1, max(report.late_s, late)
                if self._on_miss is not None:
                    self._on_miss(report)
        return report

    def _wait_until(self, due: float) -> None:
        while (left := due - self._clock()) > 0:
            self._sleep(left)


@dataclass(frozen=True)
class _Plan:
    """Actions from step `t` on, counted from the observation that they were planned from."""

    actions: Sequence[Any]
    t: int


class BackgroundPlanner:
    """Acts on the current plan while another thread computes the next one.

    At each step the newest finished plan is used, at the place of this step: a plan from the observation at step t
    gives its action j at step t + j.  If no plan is being computed, one is begun from the present observation.  Before
    the first plan is finished and after the end of the newest plan, the action is `fallback`; `stale` counts these.
    A plan assumes that its first action is applied at once.  Where planning takes k steps, a controller trained with
    `--action-delay k` plans for the state in which its plan begins instead.
    """

    def __init__(self, plan: Callable[[Any, int], Sequence[Any]], fallback: Any, *, submit: Callable | None = None):
        """Nothing planned yet.

        Args:
            plan: the actions [H, ...] from an observation and a step on, such as `controller.plan`; only one thread
                calls it at a time.
            fallback: the action where there is no plan.
            submit: starts a function of no arguments and returns at once; by default in a thread of its own.
        """
        self._plan, self._fallback = plan, fallback
        self._submit = submit or _in_thread
        self._lock = threading.Lock()
        self._newest: _Plan | None = None
        self._busy = False
        self._failure: BaseException | None = None
        self.steps, self.stale, self.plans = 0, 0, 0

    def act(self, observation: Any) -> Any:
        """The action for this step; begins a new plan if none is being computed.

        Raises whatever exception `plan` raised in its thread.
        """
        t, self.steps = self.steps, self.steps + 1
        with self._lock:
            failure, begin = self._failure, not self._busy
            self._busy = True
        if failure is not None:
            raise failure
        if begin:
            self._submit(lambda: self._make(observation, t))
        with self._lock:
            newest = self._newest
        if newest is None or t - newest.t >= len(newest.actions):
            self.stale += 1
            return self._fallback
        return newest.actions[t - newest.t]

    def _make(self, observation: Any, t: int) -> None:
        try:
            made = _Plan(self._plan(observation, t), t)
        except BaseException as problem:  # to be raised where the loop is
            with self._lock:
                self._failure = problem
            return
        with self._lock:
            self._newest, self._busy = made, False
            self.plans += 1


def _in_thread(function: Callable[[], None]) -> None:
    threading.Thread(target=function, daemon=True).start()
