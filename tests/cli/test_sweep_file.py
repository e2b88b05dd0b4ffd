"""A sweep file is read as it is meant, and every error in it is told before anything starts."""

from pathlib import Path

import pytest

from forethought.cli import sweep
from forethought.cli.main import main
from forethought.cli.sweep_file import SweepErrors, read_sweep_file, words_of
from forethought.core import UsageError


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a sweep file; the working directory is its folder."""
    monkeypatch.chdir(tmp_path)

    def written(text):
        Path("sweep.toml").write_text(text, encoding="utf-8")
        return Path("sweep.toml")

    return written


def errors(path):
    with pytest.raises(SweepErrors) as caught:
        read_sweep_file(path)
    return caught.value.errors


def test_the_example_of_the_help(write):
    found = read_sweep_file(write(sweep.EXAMPLE))
    assert (found.out, found.seeds, found.workers, found.retries) == (Path("runs/swing-up"), (0, 1, 2), 2, 1)
    pilco, pets = found.algorithms
    assert (pilco.kind, pilco.given, pets.kind) == ("pilco", {}, "pets")
    assert pets.given == {"planner.horizon": 12, "model.hidden": (64, 64)}
    assert pets.settings.construct(pets.given).planner.horizon == 12
    cartpole, pendulum = found.environments
    assert (cartpole.id, cartpole.options) == ("forethought/CartPoleSwingUp-v0", {"observation_noise": 0.01})
    assert found.budget_of(pilco, cartpole) == {"iterations": 15}
    assert found.budget_of(pets, pendulum) == {"env_steps": 3000}
    assert found.directory(pets, cartpole, 2) == Path("runs/swing-up/pets-icem-cartpole-seed2")


def test_the_page_shows_the_example_of_the_help():
    page = Path(__file__).parents[2] / "docs" / "sweeps.md"
    assert sweep.EXAMPLE in page.read_text(encoding="utf-8") and "[algorithms.pilco]" in sweep.AFTER


def test_lists_of_names_and_defaults(write):
    found = read_sweep_file(
        write('algorithms = ["pets"]\nenvironments = ["Pendulum-v1", "m:E-v0"]\nenv_steps = 100\nuntil-solved = true')
    )
    assert (found.out, found.seeds, found.workers) == (Path("runs/sweep"), (0,), None)
    assert [found.directory(found.algorithms[0], one, 0).name for one in found.environments] == [
        "pets-pendulum-v1-seed0",
        "pets-e-v0-seed0",
    ]
    assert found.budget == {"env_steps": 100, "until_solved": True}


BASE = 'environments = ["Pendulum-v1"]\niterations = 2\n'


def test_settings_may_be_nested_or_dotted_and_written_as_flags(write):
    text = """
    [algorithms.pets.settings]
    planner = "icem"
    "planner.horizon" = 9
    model.learning-rate = 1e-5
    model.hidden = [8, 8]
    planner_x = 1
    """
    assert errors(write(BASE + text)) == ("algorithms.pets: unknown setting 'planner_x'; did you mean 'planner'?",)
    (pets,) = read_sweep_file(write(BASE + text.replace("planner_x = 1", "random-episodes = 2"))).algorithms
    assert pets.given == {
        "planner.horizon": 9,
        "model.learning_rate": 1e-5,
        "model.hidden": (8, 8),
        "random_episodes": 2,
    }
    assert pets.settings.construct(pets.given).planner.__class__.__name__ == "ICEM"


def test_all_errors_come_in_one_list(write):
    found = errors(
        write(
            """
            seeds = [0, 1.5, "a", true, 0, -1]
            iterations = 2
            workers = 0
            retrys = 3
            [algorithms.pats]
            [algorithms.pets.settings]
            planner.horizonn = 3
            planner.population = 2.5
            model.hidden = "wide"
            random-episodes = true
            [algorithms.two]
            algorithm = "pets"
            settings.planner = { class = "icme", beta = 1 }
            [environments.a]
            id = "Pendulum-v1"
            observation-noize = 0.1
            horizon = "long"
            [environments.b]
            id = 3
            """
        )
    )
    expected = (
        "unknown key 'retrys'; did you mean 'retries'?",
        "workers must be a whole number, at least 1, not 0",
        "seeds must be whole numbers from 0 to 4294967295, not 1.5, 'a', True, -1",
        "seeds: 0 is given twice, so two runs would write into one directory",
        "algorithms.pats: unknown algorithm 'pats'; did you mean 'pets'?",
        "algorithms.pets: unknown setting 'planner.horizonn'; did you mean 'planner.horizon'?",
        "algorithms.pets: planner.population: invalid int value: '2.5'; see `forethought train pets --help`",
        "algorithms.pets: model.hidden: invalid int value: 'wide'; see `forethought train pets --help`",
        "algorithms.pets: random-episodes: invalid int value: 'true'; see `forethought train pets --help`",
        "algorithms.two: planner cannot be 'icme'; did you mean 'icem'?",
        "environments.a: unknown option 'observation_noize'; did you mean 'observation-noise'?",
        "environments.a: horizon: invalid int value: 'long'; see `forethought train ALGORITHM --help`",
        "environments.b: id must be the name of an environment, not 3",
    )
    assert set(found) == set(expected), "\n".join(found)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "algorithms must be a list of names"),
        ('algorithms = ["pets", "pets"]\n' + BASE, "'pets' is given twice"),
        ('algorithms = "pets"\n' + BASE, "algorithms must be a list"),
        ("algorithms.pets = 3\n" + BASE, r"algorithms.pets must be a table \[algorithms.pets\], not 3"),
        ("algorithms.pets.settings = 3\n" + BASE, "settings must be a table"),
        ("algorithms.pets.setings = {}\n" + BASE, "unknown key 'setings'; did you mean 'settings'"),
        ('algorithms = ["pets"]\nenvironments = ["E"]', "say how long to train pets on E"),
        ('algorithms = ["pets"]\nenv-steps = 3\n' + BASE, "env-steps or iterations, not both"),
        ('algorithms = ["pets"]\nuntil-solved = 1\n' + BASE, "until-solved must be true or false"),
        ('algorithms = ["pets"]\nout = 3\n' + BASE, "out must be the name of a folder"),
        ('algorithms = ["pets"]\nseeds = 3\n' + BASE, "seeds must be a list"),
        (
            'algorithms = ["pets"]\nenvironments = ["a:E", "b:e"]\niterations = 1',
            "two runs into one directory: pets on a:E and pets on b:e both write runs/sweep/pets-e-seedS",
        ),
    ],
)
def test_single_errors(write, text, error):
    with pytest.raises(SweepErrors) as caught:
        read_sweep_file(write(text))
    import re

    assert any(re.search(error, one) for one in caught.value.errors), caught.value.errors


def test_a_file_that_cannot_be_read(write):
    with pytest.raises(UsageError, match="cannot read missing.toml"):
        read_sweep_file(Path("missing.toml"))
    with pytest.raises(UsageError, match="not valid TOML"):
        read_sweep_file(write("seeds = [0"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, ["--a.b-c=true"]),
        (-1e-5, ["--a.b-c=-0.00001"]),
        ([1, -2.5e-7], ["--a.b-c", "1", "-0.00000025"]),
        (float("inf"), ["--a.b-c=inf"]),
        ("none", ["--a.b-c=none"]),
    ],
)
def test_values_become_words(value, words):
    assert words_of("a.b_c", value) == words
    if isinstance(value, float):
        assert float(words[0].partition("=")[2]) == value


@pytest.fixture
def started(monkeypatch):
    """The runs that would be trained."""
    seen = []

    def train(states, file, values):
        seen.extend(states)
        for state in states:
            state.status = "done"

    monkeypatch.setattr(sweep, "_train", train)
    return seen


def test_errors_that_only_classes_and_environments_find(write, started, capsys):
    text = """
    iterations = 1
    algorithms.pets.settings.planner.elites = 5000
    environments = ["Pendulum-v9", "HalfCheetha-v5"]
    """
    assert main(["sweep", str(write(text))]) == 2
    said = capsys.readouterr().err
    assert "algorithms.pets: CEM.elites (5000)" in said and "'Pendulum-v9'" in said and "'HalfCheetah-v5'" in said
    assert said.splitlines()[-1] == "error: sweep.toml has 3 errors; nothing was started"
    assert not started and not Path("runs").exists()


def test_a_directory_of_another_run_is_refused(write, started, capsys):
    folder = Path("runs/sweep/pets-pendulum-v1-seed0")
    (folder / "transitions").mkdir(parents=True)
    (folder / "transitions" / "000001.safetensors").touch()
    assert main(["sweep", str(write('algorithms = ["pets"]\n' + BASE))]) == 2
    assert f"{folder} contains episodes or checkpoints" in capsys.readouterr().err and not started


def test_every_run_is_planned_and_the_last_line_names_the_report(write, started, capsys):
    text = 'algorithms = ["pets", "pilco"]\nenvironments = ["forethought/PendulumSwingUp-v0"]\niterations = 2\n'
    assert main(["sweep", str(write(text + "seeds = [3, 4]"))]) == 0
    assert [state.planned.name for state in started] == [
        "pets-pendulumswingup-v0-seed3",
        "pets-pendulumswingup-v0-seed4",
        "pilco-pendulumswingup-v0-seed3",
        "pilco-pendulumswingup-v0-seed4",
    ]
    assert started[1].planned.words == ("pets", "forethought/PendulumSwingUp-v0", "--seed=4", "--iterations=2")
    assert capsys.readouterr().out.splitlines()[-1] == "compare them: forethought report runs/sweep"


def test_a_dry_run_lists_the_runs(write, started, capsys):
    path = write('algorithms = ["pets"]\nenvironments = ["forethought/PendulumSwingUp-v0"]\niterations = 2')
    assert main(["sweep", str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out == "pets-pendulumswingup-v0-seed0: waiting\n" and not started
    assert main(["sweep", str(path), "--workers", "0"]) == 2
