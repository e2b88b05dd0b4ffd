"""Processes of a sweep: pinned, retried, stopped, and what is shown of them; a script stands in for the training."""

import fcntl
import io
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from forethought.algorithms.pets import PETS
from forethought.envs.environment import Environment
from forethought.runs.budget import Budget
from forethought.runs.signals import interruptible
from forethought.runs.sweep import PlannedRun, RunState, last_metrics, states_of
from forethought.runs.sweep_processes import available_cores, divide_cores, run_processes
from forethought.runs.sweep_table import SweepLines, SweepTable, table_of

FAKE = (sys.executable, "-S", str(Path(__file__).with_name("fake_training.py")))


def planned(folder, name, *behavior, iterations=3):
    """A run whose attempts behave as told."""
    directory = folder / name
    directory.mkdir(parents=True)
    (directory / "behavior.json").write_text(json.dumps(behavior or ["done"]))
    budget, words = Budget(iterations=iterations), ("pets", "E-v0", "--seed=0")
    return PlannedRun(directory, PETS(), Environment("E-v0"), 0, budget, words)


def sweep(states, *, cores=((0,),), retries=1, said=None):
    reporter = SweepLines((said if said is not None else []).append)
    with interruptible(reporter.hint) as interruption:
        run_processes(states, cores=cores, retries=retries, reporter=reporter, interruption=interruption, command=FAKE)


def attempts(run):
    return [json.loads(line) for line in (run.directory / "attempts").read_text().splitlines()]


def test_every_run_is_trained_once_with_its_words_on_its_cores(tmp_path):
    runs = [planned(tmp_path, f"run{i}") for i in range(3)]
    states, core = states_of(runs), available_cores()[0]
    sweep(states, cores=((core,),))
    assert [state.status for state in states] == ["done"] * 3
    (attempt,) = attempts(runs[0])
    assert attempt["argv"] == ["train", *runs[0].words, "--out", str(runs[0].directory), "--resume"]
    assert attempt["cores"] == [core] and attempt["threads"] == "1"
    assert os.sched_getaffinity(0) == set(available_cores())
    sweep(again := states_of(runs))  # finished runs are left alone
    assert [state.status for state in again] == ["done"] * 3 and len(attempts(runs[0])) == 1


def test_a_larger_budget_makes_a_done_run_continue(tmp_path):
    run = planned(tmp_path, "run")
    sweep(states_of([run]))
    assert run.finished()
    longer = replace(run, budget=Budget(iterations=4))
    assert not longer.finished() and states_of([longer])[0].status == "waiting"


def test_failures_are_retried_and_named(tmp_path):
    runs = [
        planned(tmp_path, "recovers", "kill", "done"),
        planned(tmp_path, "fails", "fail"),
        planned(tmp_path, "usage", "usage"),
    ]
    states, said = states_of(runs), []
    sweep(states, said=said)
    assert [state.status for state in states] == ["done", "failed", "failed"]
    assert [len(attempts(run)) for run in runs] == [2, 2, 1]  # wrong usage fails in the same way again
    assert [state.reason for state in states[1:]] == ["the fit diverged.", "what went wrong"]
    text = "\n".join(said)
    assert "recovers: attempt 1 failed: killed by SIGKILL; another follows" in text
    assert f"fails: failed: the fit diverged.; log: {runs[1].log}" in text
    assert runs[1].log.read_text().count("what went wrong") == 2


def test_a_signal_stops_the_processes_and_leaves_the_other_runs_alone(tmp_path):
    runs = [planned(tmp_path, name, behavior) for name, behavior in (("a", "hang"), ("b", "done"))]
    states = states_of(runs)

    class Stopping(SweepLines):
        def refresh(self, states):
            if (runs[0].directory / "run.json").exists():
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1)

    begin = time.monotonic()
    with interruptible(lambda text: None) as interruption, pytest.raises(KeyboardInterrupt):
        run_processes(
            states,
            cores=((0,),),
            retries=0,
            reporter=Stopping(lambda text: None),
            interruption=interruption,
            command=FAKE,
        )
    assert time.monotonic() - begin < 30  # the child that hangs for 60 s was told to stop
    assert not (runs[1].directory / "attempts").exists()


def test_a_run_that_another_process_trains_is_waited_for(tmp_path):
    run, other = planned(tmp_path, "run"), planned(tmp_path, "other")
    states = states_of([run, other])
    with open(run.directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        class Releasing(SweepLines):
            def refresh(self, _):
                if states[1].status == "done" and not (run.directory / "run.json").exists():
                    assert states[0].status == "elsewhere"
                    (run.directory / "run.json").write_text((other.directory / "run.json").read_text())
                    fcntl.flock(lock, fcntl.LOCK_UN)

        with interruptible(lambda text: None) as interruption:
            run_processes(
                states,
                cores=((0,),),
                retries=0,
                reporter=Releasing(lambda text: None),
                interruption=interruption,
                command=FAKE,
            )
    assert states[0].status == "done" and not (run.directory / "attempts").exists()


@pytest.mark.parametrize(
    ("available", "options", "cores"),
    [
        ([0, 1], {"runs": 5}, [(0,), (1,)]),
        ([0, 1, 2, 3], {"runs": 2}, [(0, 1), (2, 3)]),
        ([4, 5, 6, 7], {"runs": 9, "each": 2}, [(4, 5), (6, 7)]),
        ([0, 1, 2, 3], {"runs": 9, "workers": 2}, [(0, 1), (2, 3)]),
        ([3], {"runs": 9, "workers": 2}, [(3,), (3,)]),
        ([0, 1], {"runs": 0}, [(0, 1)]),
        ([0, 1], {"runs": 3, "each": 8}, [(0, 1)]),
    ],
)
def test_cores_are_divided(available, options, cores):
    assert divide_cores(available, **{"workers": None, "each": None, **options}) == cores


def test_the_last_whole_line_of_metrics(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert last_metrics(path) == {}
    path.write_text('{"iteration": 1}\n{"iteration": 2}\n\n{"iteration": 3')
    assert last_metrics(path) == {"iteration": 2}


def test_the_table_shows_what_matters_first_and_fits_the_screen(tmp_path):
    states = [RunState(planned(tmp_path, f"run{i}"), "done") for i in range(4)]
    states[2].status, states[3].status, states[3].attempts = "failed", "waiting", 1
    (states[0].planned.directory / "metrics.jsonl").write_text(
        '{"iteration": 1, "env_steps": 10, "return": 2.5, "wall_s": 65.0}\n'
    )
    console = Console(file=io.StringIO(), width=100)
    console.print(table_of(states, 90.0, 3))
    text = console.file.getvalue()
    assert "4 runs: 2 done, 1 waiting, 1 failed, time left 1:30" in text and "... 1 more" in text
    rows = [line.split() for line in text.splitlines()]
    assert [row[0] for row in rows[2:5]] == ["run2", "run3", "run0"]
    assert rows[4] == ["run0", "done", "100%", "10", "2.5", "1:05"]
    assert "waiting for attempt 2" in text


def test_the_live_table_prints_failures_above_it(tmp_path):
    console = Console(file=io.StringIO(), width=160, force_terminal=True, height=20)
    state = RunState(planned(tmp_path, "run"), "failed", reason="why")
    with SweepTable(console) as table:
        table.refresh([state])
        table.ended(state)
    text = console.file.getvalue()
    assert "run: failed: why; log: " in text and "1 runs" not in text.splitlines()[-1]


def test_lines_tell_of_the_running_ones_now_and_then(tmp_path):
    said = []
    lines, state = SweepLines(said.append), RunState(planned(tmp_path, "run"), "running")
    lines.refresh([state])
    assert said == []
    lines.last -= 100
    lines.refresh([state])
    assert said == ["1 runs: 1 running; run 0%"]
