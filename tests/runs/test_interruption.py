"""Training that is killed or stopped, then resumed, is bitwise identical to training that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy import LeastSquares, ToyEnv, leaves

import forethought as ft
from forethought.runs.run import load
from forethought.runs.signals import Interrupted, interruptible, noted

TOY = Path(__file__).with_name("toy.py")
ROUNDS = 6


def _start(out, slow=0.0):
    environment = {**os.environ, "PYTHONPATH": str(TOY.parents[2]), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(TOY), str(out), str(ROUNDS), str(slow)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def _end(process):
    """Wait for a process, and close its pipes."""
    said = process.communicate(timeout=120)
    return process.returncode, said


def _loaded(out):
    return load(out, algorithm=LeastSquares(), env=ToyEnv())


def _wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()


def test_killed_at_random_moments_and_resumed(tmp_path):
    whole = ft.train(LeastSquares(), ToyEnv(), iterations=ROUNDS, out=tmp_path / "whole", progress=False)
    out, moments = tmp_path / "run", random.Random(0)
    metrics = out / "metrics.jsonl"
    for kill in range(2):
        done = len(load_lines(metrics))
        # each fsync takes 0.05 s, and a round makes about eight: the kill falls between two files of a round
        process = _start(out, slow=0.05)
        _wait_for(lambda done=done: len(load_lines(metrics)) > done, process)
        time.sleep(moments.uniform(0.0, 0.4))
        process.kill()
        assert _end(process)[0] == -signal.SIGKILL
        if kill == 1:
            with open(metrics, "ab") as file:  # what a power cut makes of a line
                file.write(b'{"iteration": 9, "ret')
    assert _loaded(out).info["status"] == "running"
    status, said = _end(_start(out))
    assert status == 0, said
    resumed = _loaded(out)
    assert leaves(resumed.state) == leaves(whole.state)
    assert [line["iteration"] for line in resumed.metrics] == list(range(1, ROUNDS + 1))
    assert [line["return"] for line in resumed.metrics] == [line["return"] for line in whole.metrics]
    for name in sorted(path.name for path in (whole.path / "transitions").iterdir()):
        assert (out / "transitions" / name).read_bytes() == (whole.path / "transitions" / name).read_bytes()


def load_lines(path):
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_an_interrupted_run(tmp_path, number):
    out = tmp_path / "run"

    def stop(line, state):
        if line["iteration"] == 2:
            os.kill(os.getpid(), number)

    before = [signal.getsignal(number), signal.set_wakeup_fd(-1)]
    with pytest.raises(Interrupted, match="after round 2 .*--resume") as caught:
        ft.train(LeastSquares(), ToyEnv(), iterations=4, out=out, progress=False, callbacks=[stop])
    assert caught.value.exit_status == 130
    assert [signal.getsignal(number), signal.set_wakeup_fd(-1)] == before
    stopped = _loaded(out)
    assert stopped.info["status"] == "interrupted" and stopped.progress.iteration == 2
    resumed = ft.train(LeastSquares(), ToyEnv(), iterations=4, out=out, resume=True, progress=False)
    whole = ft.train(LeastSquares(), ToyEnv(), iterations=4, out=tmp_path / "whole", progress=False)
    assert leaves(resumed.state) == leaves(whole.state) and resumed.info["status"] == "done"


def test_an_interrupt_that_a_library_swallows_still_counts(tmp_path):
    class Deaf(ToyEnv):
        def start(self, **more):
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            except KeyboardInterrupt:
                raise RuntimeError("something inside went wrong") from None

    with pytest.raises(Interrupted):
        ft.train(LeastSquares(), Deaf(), iterations=1, out=tmp_path / "run", progress=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_is_lost_still_stops(tmp_path, number):
    """As in a garbage-collection callback: whatever the handler raises there is swallowed."""

    def lose(line, state):
        if line["iteration"] == 2:
            _signal_lost(number)

    with pytest.raises(Interrupted, match="after round 2 "):
        ft.train(LeastSquares(), ToyEnv(), iterations=4, out=tmp_path / "run", progress=False, callbacks=[lose])
    assert _loaded(tmp_path / "run").info["status"] == "interrupted"


def test_a_signal_that_is_lost_within_a_round_stops_at_the_next_step(tmp_path):
    class Losing(ToyEnv):
        def start(self, **keys):
            episode = super().start(**keys)
            whole = episode.advance

            def advance(controller, *, steps, on_step):
                def step(done, total):
                    seen.append(done)
                    if len(seen) == 10:
                        _signal_lost(signal.SIGINT)
                    on_step(done, total)

                return whole(controller, steps=steps, on_step=step)

            episode.advance = advance
            return episode

    seen = []
    with pytest.raises(Interrupted, match="after round 1 "):
        ft.train(LeastSquares(), Losing(), iterations=4, out=tmp_path / "run", progress=False)
    assert len(seen) == 10


def test_a_signal_before_training_begins_is_not_lost(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    try:
        _lose_a_signal_before_training(tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)


def _lose_a_signal_before_training(out):
    with noted() as early, pytest.raises(Interrupted):
        _signal_lost(signal.SIGINT)
        ft.train(LeastSquares(), ToyEnv(), iterations=2, out=out, progress=False)
    assert early.signal == signal.SIGINT and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _signal_lost(number):
    try:
        os.kill(os.getpid(), number)
        time.sleep(1)
    except KeyboardInterrupt:
        pass


def test_a_second_signal_ends_the_process_even_inside_a_long_call():
    script = (
        "import time, os\n"
        "from forethought.runs.signals import interruptible\n"
        "def say(text): os.write(1, f'{text}\\n'.encode())  # whole lines: two threads speak\n"
        "with interruptible(say):\n"
        "    try:\n"
        "        say('ready')\n"
        "        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        say('unwinding')\n"
        "        time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOY.parents[2])},
    ) as process:
        try:
            _ask_to_stop(process)
        finally:
            process.kill()


def _ask_to_stop(process):
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # at once: the same request
    said = {process.stdout.readline(), process.stdout.readline()}
    assert "unwinding\n" in said and any("a second Ctrl-C aborts" in line for line in said)
    time.sleep(0.7)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert _end(process)[0] == 130


def test_outside_the_main_thread_signals_are_left_alone():
    import threading

    seen = []

    def work():
        with interruptible(seen.append) as interruption:
            seen.append(interruption.signal)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None] and signal.getsignal(signal.SIGINT) is before
