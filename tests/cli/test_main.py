"""What a person sees: status, one line, no traceback unless asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

from forethought.algorithms.pets import PETS
from forethought.cli import listing
from forethought.cli import main as main_module
from forethought.cli.main import COMMANDS, main
from forethought.cli.renamed import RENAMED
from forethought.core import CheckpointError, UsageError
from forethought.models.ensemble import Ensemble
from forethought.registry import PLANNERS

ROOT = Path(__file__).parents[2]


def forethought(*words, **options):
    command = [sys.executable, "-m", "forethought", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


@pytest.fixture
def raising(monkeypatch):
    """Make `forethought list` raise."""

    def install(error):
        def run(values):
            raise error

        monkeypatch.setattr(listing, "run", run)

    return install


@pytest.mark.parametrize(
    "words",
    [["--help"], *([name, "--help"] for name in COMMANDS), ["train", "pets", "--help"], ["list"], ["train", "x"]],
)
def test_answers_without_jax(words):
    """What takes long to import stays unloaded: the answer is there in half a second on an idle machine."""
    slow = ("jax", "equinox", "optax", "matplotlib", "mujoco", "scipy")
    code = (
        "import sys; from forethought.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print(*[name for name in {slow} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == ""


def test_help_shows_defaults_and_units():
    help_ = " ".join(forethought("train", "pets", "--help").stdout.split())
    hidden = " ".join(map(str, Ensemble().hidden))
    assert f"--planner.horizon INT planning horizon, steps (default: {PETS().planner.horizon})" in help_
    assert f"--model.hidden INT [INT ...] units in each hidden layer (default: {hidden})" in help_
    assert "{" + ",".join(PLANNERS) + "}" in help_


def test_help_follows_the_chosen_planner():
    assert "--planner.beta" in forethought("train", "pets", "--planner", "icem", "--help").stdout
    assert "--planner.beta" not in forethought("train", "pets", "--help").stdout


def test_every_renamed_flag_leads_to_one_that_exists():
    help_ = forethought("train", "pilco", "--help").stdout
    for flag in RENAMED.values():
        assert f"{flag} " in help_


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["tarin"], "did you mean 'train'?"),
        (["train", "pest", "E"], "did you mean 'pets'?"),
        (["train", "pets", "E", "--planner", "icme"], "did you mean 'icem'?"),
        (["train", "pilco", "E", "--model", "ensemble"], "--model cannot be 'ensemble'; it takes: gp"),
        (["train", "pilco", "E", "--planner", "cem"], "unexpected argument '--planner'"),
        (["train", "pilco", "E", "--trial-steps", "3"], "'--trial-steps' is now called '--trials.steps'"),
        (["train", "pilco", "E", "--blur=0.3"], "'--blur' is now called '--objective.cost-smoothing'"),
        (["train", "pilco", "E", "--policy", "linear"], "'--policy' is now called '--policy.kind'"),
        (["train", "pets", "E", "--blur=0.3"], "unexpected argument '--blur'"),
        (["train", "pets", "E", "--planner.horizn", "3"], "did you mean '--planner.horizon'?"),
        (["train", "pets", "E", "--planner.horizn=3"], "did you mean '--planner.horizon'?"),
        (["train", "pets", "E", "--planner.horizon", "many"], "invalid int value: 'many'"),
        (["train", "pets", "E", "--model.bootstrap", "maybe"], "expected true or false, got 'maybe'"),
        (["train", "pets", "E", "--iterations", "2", "--env-steps", "3"], "not allowed with"),
        (["train", "pets", "E"], "--iterations"),
        (["train", "pets"], "ENV"),
        (["train", "--out", "pets", "nothing", "E"], "unknown algorithm 'nothing'"),
        (["list", "planer"], "did you mean 'planners'?"),
        (["evaluate"], "RUN"),
        (["evaluate", "RUN", "more"], "unexpected argument 'more'"),
    ],
)
def test_wrong_usage_is_one_line_with_the_remedy(words, hint, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert hint in err


def test_no_command_shows_the_help(capsys):
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("wrong\nthing"), 2, "error: wrong thing\n"),
        (CheckpointError("damaged"), 1, "error: damaged\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError("oh"), 1, "error: ZeroDivisionError: oh; run again with --debug for the traceback\n"),
    ],
)
def test_failures_are_one_line_and_a_status(raising, capsys, error, status, line):
    raising(error)
    assert main(["list"]) == status
    assert capsys.readouterr().err == line


def test_debug_shows_the_traceback(raising, capsys):
    raising(CheckpointError("damaged"))
    assert main(["list", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_news():
    code = "import sys; from forethought.cli.main import main; sys.stdin.read(); sys.exit(main(['list']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def test_list_names_what_is_registered(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in ("pets", "cem", "icem", "random-shooting", "ensemble", "forethought/CartPoleSwingUp-v0"):
        assert name in out
    assert main(["list", "planners"]) == 0
    assert "pets" not in capsys.readouterr().out


def test_modules_in_the_current_folder_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(listing, "run", lambda values: 0)
    assert main_module.main(["list"]) == 0
    assert sys.path[-1] == str(tmp_path)
