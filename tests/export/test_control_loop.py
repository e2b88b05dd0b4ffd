"""The control loop and the planner in the background, with a clock and threads that the tests advance."""

import pytest

from forethought.export.control_loop import BackgroundPlanner, ControlLoop


class Clock:
    """Time passes only where a test says so, and in `sleep`."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


def loop_of(durations, period=0.1, **more):
    """A loop whose step k takes `durations[k]`; the clock and the times at which steps began."""
    clock, began = Clock(), []

    def read():
        began.append(round(clock.now - 100.0, 6))
        return len(began) - 1

    def act(k):
        clock.now += durations[k]
        return 10 * k

    written = []
    loop = ControlLoop(read, act, written.append, period_s=period, clock=clock, sleep=clock.sleep, **more)
    return loop, began, written


def test_a_loop_in_time_keeps_its_rate():
    loop, began, written = loop_of([0.02, 0.09, 0.05, 0.0])
    report = loop.run(4)
    assert began == [0.0, 0.1, 0.2, 0.3] and written == [0, 10, 20, 30]
    assert (report.steps, report.missed, report.skipped, report.late_s) == (4, 0, 0, 0.0)
    assert report.longest_s == pytest.approx(0.09)


def test_missed_deadlines_are_counted_and_the_phase_is_kept():
    loop, began, _ = loop_of([0.02, 0.25, 0.02, 0.12, 0.02])
    report = loop.run(5)
    assert began == [0.0, 0.1, 0.4, 0.5, 0.7]  # the next multiple of the period after each late step
    assert (report.missed, report.skipped) == (2, 3)
    assert report.late_s == pytest.approx(0.15)
    assert "2 missed deadlines (latest 150 ms), 3 skipped periods, longest step 250 ms" in str(report)


def test_a_missed_deadline_can_stop_the_loop():
    def stop(report):
        raise RuntimeError(f"late at step {report.steps}")

    loop, began, _ = loop_of([0.02, 0.3, 0.02], on_miss=stop)
    with pytest.raises(RuntimeError, match="late at step 2"):
        loop.run(3)
    assert len(began) == 2


def test_a_loop_stops_when_it_is_told_to():
    loop, began, _ = loop_of([0.0] * 9)
    assert loop.run(9, stop=lambda: len(began) == 3).steps == 3


def test_a_period_must_be_positive():
    with pytest.raises(ValueError, match="period_s must be positive"):
        ControlLoop(int, int, int, period_s=0.0)


class Later:
    """Functions that are submitted run when the test says so."""

    def __init__(self):
        self.waiting = []

    def __call__(self, function):
        self.waiting.append(function)

    def finish(self):
        self.waiting.pop(0)()


def test_it_acts_on_the_current_plan_while_the_next_is_computed():
    later, seen = Later(), []

    def plan(observation, t):
        seen.append((observation, t))
        return [f"{observation}+{j}" for j in range(3)]

    planner = BackgroundPlanner(plan, "rest", submit=later)
    assert planner.act("a") == "rest"  # step 0: planning from a begins
    later.finish()
    assert planner.act("b") == "a+1"  # step 1, place 1 of the plan from step 0; planning from b begins
    assert planner.act("c") == "a+2"  # the plan from b is not finished
    assert len(later.waiting) == 1
    later.finish()
    assert planner.act("d") == "b+2"
    assert seen == [("a", 0), ("b", 1)] and planner.plans == 2 and planner.stale == 1


def test_after_the_end_of_a_plan_it_falls_back():
    later = Later()
    planner = BackgroundPlanner(lambda observation, t: [1, 2], 0, submit=later)
    planner.act(None)
    later.finish()
    assert [planner.act(None) for _ in range(3)] == [2, 0, 0]
    assert planner.stale == 3


def test_a_failure_of_the_planning_thread_reaches_the_loop():
    later = Later()

    def plan(observation, t):
        raise ValueError("no plan")

    planner = BackgroundPlanner(plan, 0, submit=later)
    assert planner.act(None) == 0
    later.finish()
    with pytest.raises(ValueError, match="no plan"):
        planner.act(None)


def test_threads():
    """With real threads: every action is of a plan or the fallback, and at last a plan is used."""
    import time

    planner = BackgroundPlanner(lambda observation, t: [observation] * 1000, -1)
    deadline, actions = time.monotonic() + 10, []
    while planner.plans < 3 and time.monotonic() < deadline:
        actions.append(planner.act(len(actions)))
        time.sleep(0.001)
    assert planner.plans >= 3 and actions[0] in (-1, 0) and max(actions) >= 0
