import io
from dataclasses import dataclass, replace

import pytest
from rich.console import Console
from toy import LeastSquares, ToyEnv

import forethought as ft
from forethought.core import UsageError
from forethought.runs import progress
from forethought.runs.budget import Budget, TimeLeft
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.progress import Live, Plain, duration, number, reporter_for

LINE = {
    "iteration": 3,
    "env_steps": 60,
    "episodes": 3,
    "return": -12.345678,
    "model_error": None,
    "steps_per_s": 5.0,
    "solved": True,
}


def test_lines_where_there_is_no_terminal(tmp_path, capsys):
    ft.train(LeastSquares(), ToyEnv(), iterations=2, out=tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1].startswith("round 1/2  env steps 7  return -")
    assert "model error" in lines[2] and "steps/s" in lines[2] and lines[2].endswith("time left 0:00  solved")


def test_silence_where_it_is_wanted(tmp_path, capsys):
    ft.train(LeastSquares(), ToyEnv(), iterations=2, out=tmp_path / "run", progress=False)
    assert capsys.readouterr().out == ""


def test_a_long_round_says_so_now_and_then(monkeypatch):
    said = []
    plain = Plain(said.append)
    plain.begin("run", Budget(env_steps=100), TrainingProgress(2, 40, 2))
    plain.step(5, -1.0)
    assert said == ["training in run"]
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    plain.step(6, -1.5)
    assert said[1:] == ["round 3: env steps 46  return so far -1.5"]


def test_a_live_bar_on_a_terminal():
    stream = io.StringIO()
    with Live(Console(file=stream, force_terminal=True, width=140)) as live:
        live.begin("run", Budget(env_steps=80, iterations=10), TrainingProgress(2, 40, 2))
        assert live.bar.tasks[0].completed == 0.5
        live.step(10, -3.0)
        assert live.bar.tasks[0].completed == 0.625 and "return so far -3" in live.bar.tasks[0].fields["now"]
        live.round(LINE)
        assert live.bar.tasks[0].completed == 0.75
        live.step(10, -3.0)
        assert live.bar.tasks[0].completed == 0.875
    assert "round 3/10  env steps 60/80  return -12.35  model error -  5 steps/s" in stream.getvalue()
    assert isinstance(reporter_for(True), Plain) and not isinstance(reporter_for(True), Live)


def test_a_budget_ends_at_whichever_comes_first():
    budget = Budget(env_steps=100, iterations=5)
    assert (
        not budget.spent(TrainingProgress(4, 99))
        and budget.spent(TrainingProgress(5, 10))
        and budget.spent(TrainingProgress(1, 100))
    )
    assert budget.share(1, 50) == 0.5 and budget.share(4, 50) == 0.8 and budget.share(9, 900) == 1.0
    until = Budget(until_solved=True)
    assert not until.spent(TrainingProgress(99, 9999, solved=False)) and until.spent(
        TrainingProgress(1, 1, solved=True)
    )
    for wrong in ({}, {"env_steps": 0}, {"iterations": -1}):
        with pytest.raises(UsageError):
            Budget(**wrong)


def test_the_time_left_follows_the_last_rounds():
    left = TimeLeft()
    left.mark(0.0, 0.0)
    assert left(1.0) is None
    left.mark(0.25, 10.0)
    assert left(10.0) == 30.0 and left(14.0) == 26.0
    for i in range(8):
        left.mark(0.3 + 0.05 * i, 100.0 + i)
    assert left(107.0) == pytest.approx(0.35 * 5 / 0.25)


def test_numbers_for_people():
    assert number(None) == "-" and number(1234.5678) == "1235" and number(-0.00012345) == "-0.0001234"
    assert duration(None) == "-" and duration(61.4) == "1:01" and duration(3725) == "1:02:05"


@dataclass(frozen=True)
class Talkative(LeastSquares):
    """Has something to say from the second round on."""

    def iterate(self, state, env, *, key):
        after, info = super().iterate(state, env, key=key)
        notes = (f"{after.rounds} rounds, {1.5e-3 * after.rounds:.3g} s.",) if after.rounds > 1 else ()
        return after, replace(info, notes=notes + ("That is many.",) * (after.rounds > 2))


def test_notes_are_shown_once_and_recorded_in_every_round(tmp_path, capsys):
    run = ft.train(Talkative(), ToyEnv(), iterations=4, out=tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("note")] == ["note: 2 rounds, 0.003 s.", "note: That is many."]
    assert "notes" not in run.metrics[0]
    assert [line["notes"] for line in run.metrics[1:]] == [
        ["2 rounds, 0.003 s."],
        ["3 rounds, 0.0045 s.", "That is many."],
        ["4 rounds, 0.006 s.", "That is many."],
    ]
