"""`fit`, and training that starts with recorded episodes."""

from dataclasses import dataclass, replace

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from toy import LeastSquares, ToyEnv, Wander, leaves

import forethought as ft
from forethought.algorithms.model_fit import split_episodes
from forethought.cli.main import main
from forethought.core import CheckpointError, EnvironmentFailure, Transition, UsageError
from forethought.envs.logged.data import DataOptions, LoggedData, action_range
from forethought.report.html import write_report
from forethought.runs import transitions
from forethought.runs.fit import fit
from forethought.runs.learned_problem import learned_problem
from forethought.runs.logged import episodes_for, open_data
from forethought.runs.run import Run
from forethought.runs.share import export_minari

SMALL = ft.Ensemble(members=2, hidden=(8,), max_updates=200, max_epochs=20)
PENDULUM = "forethought/PendulumSwingUp-v0"
NAMES = ("angle (rad)", "angular velocity (rad/s)")


@dataclass(frozen=True)
class Recorded(LeastSquares):
    """Also learns from recorded episodes."""

    def with_data(self, state, env, episodes, *, key):
        buffer = state.buffer
        for episode in episodes:
            buffer = buffer.append(episode)
        return eqx.tree_at(lambda s: s.buffer, state, buffer)


def pendulum_log(tmp_path, *, header=(*NAMES, "torque"), dt=0.05, episodes=4, steps=30):
    """A CSV file of a free pendulum with random torques (its own equations, not those of the task)."""
    rng, lines = np.random.default_rng(0), [",".join(["episode", "time", *header])]
    for e in range(episodes):
        q, v = rng.normal(size=2)
        for i in range(steps + 1):
            u = rng.uniform(-1, 1)
            lines.append(f"{e},{i * dt:.4f},{q:.6f},{v:.6f},{u:.6f}")
            v += dt * (9.8 * np.sin(q) + u)
            q += dt * v
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """One fit, and the file that it came from."""
    folder = tmp_path_factory.mktemp("fit")
    path = pendulum_log(folder)
    words = ["--model.members", "2", "--model.hidden", "16", "--model.max-updates", "2000"]
    done = main(["fit", str(path), "--actions", "torque", "--angles", NAMES[0], "--out", str(folder / "model"), *words])
    assert done == 0
    return Run(folder / "model"), path


def test_a_fit_is_a_run_without_an_environment(fitted):
    run, _ = fitted
    assert run.env.space.names == NAMES and run.env.space.angles == (0,) and run.env.task.dt == 0.05
    assert run.info["logged"]["held_out"] == [3] and run.info["status"] == "done"
    (line,) = run.metrics
    assert line["episodes"] == 4 and line["env_steps"] == 120 and 0 < line["model_error"] < 1
    x = jnp.zeros(2)
    step = run.algorithm.problem(run.state, run.env).dynamics(x, jnp.zeros(1), jnp.int32(0))
    assert step.mean.shape == (2,) and np.isfinite(step.std).all()
    for refused in (run.evaluate, lambda: run.env.run(None), lambda: run.act(x)):
        with pytest.raises(UsageError, match="fitted to logged data .* without an environment"):
            refused()


def test_its_report_shows_the_data_the_errors_and_the_inputs(fitted):
    page = (fitted[0].path / "report.html").read_text()
    for part in ("Model error by horizon", "Calibration", "Inputs that each output depends on", "held-out episodes"):
        assert part in page
    assert "angular velocity (rad/s)" in page and "torque" in page and "x[0]" not in page


def test_it_can_be_planned_with(fitted, tmp_path, capsys):
    run, _ = fitted
    planner = [
        "--planner",
        "random-shooting",
        "--planner.population",
        "8",
        "--planner.horizon",
        "4",
        "--planner.particles",
        "2",
    ]
    assert main(["plan", PENDULUM, "--model", str(run.path), *planner, "--json"]) == 0
    assert '"planner": "random-shooting"' in capsys.readouterr().out
    env, known = ft.known_system(PENDULUM)
    assert learned_problem(run.path, env, known).task is known.task
    with pytest.raises(UsageError, match="the states of .* are angle"):
        learned_problem(run.path, *ft.known_system("forethought/CartPoleSwingUp-v0"))


def test_a_damaged_record_is_refused(fitted, tmp_path):
    run, _ = fitted
    record = run.info["logged"]
    with pytest.raises(CheckpointError, match="record of its data is damaged"):
        type(run.env).from_record({**record, "angles": [7]})
    with pytest.raises(CheckpointError, match="damaged"):
        type(run.env).from_record({"states": ["a"]})


def test_a_fit_refuses_a_directory_with_a_run_and_wrong_settings(fitted, tmp_path):
    run, path = fitted
    known = {"actions": ["torque"]}
    with pytest.raises(UsageError, match="already contains a run"):
        fit(path, SMALL, out=run.path, **known)
    with pytest.raises(UsageError, match="held_out must be at least 0"):
        fit(path, SMALL, out=tmp_path / "new", held_out=1.0, **known)
    with pytest.raises(UsageError, match="no column is known to be an action"):
        fit(path, SMALL, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_held_out_episodes_are_spread_evenly():
    assert split_episodes(list("abcdefghij"), 0.2)[1] == [2, 7]
    assert split_episodes(list("ab"), 0.9)[1] == [1]
    assert split_episodes(list("abc"), 0.0) == (list("abc"), [])
    (whole,) = _data(steps=10).episodes
    parts, held = split_episodes([whole], 0.2)
    assert [len(part) for part in parts] == [8, 2] and held == [1]
    np.testing.assert_array_equal(np.concatenate([part.u for part in parts]), whole.u)


def _data(*, states=NAMES, actions=("torque (N m)",), dt=0.05, rewarded=True, steps=5, discrete=False):
    t = np.arange(steps + 1, dtype=np.float32)
    x = np.stack([t + i for i in range(len(states))], axis=1)
    u = np.stack([t[:-1] + i for i in range(len(actions))], axis=1)
    flags = np.zeros(steps, bool)
    episode = Transition(x[:-1], u, x[1:], t[:-1], flags, t[1:] == steps)
    return LoggedData("log", (episode,), states, actions, action_range(u, actions), dt, rewarded)


def test_coordinates_are_matched_by_name():
    env = ft.open_env(PENDULUM)
    data = _data(states=("extra", NAMES[1], NAMES[0]), actions=env.task.action_space.names)
    episodes, notes = episodes_for(data, env)
    np.testing.assert_array_equal(episodes[0].x[0], [2, 1])
    costs = [
        float(env.task.cost(jnp.asarray(x), jnp.asarray(u), jnp.int32(0)))
        for x, u in zip(episodes[0].x[:-1], episodes[0].u[:-1], strict=True)
    ]
    np.testing.assert_allclose(-episodes[0].reward[: len(costs)], costs, rtol=1e-5)  # of the task, not of the log
    assert any("beyond the limits" in note for note in notes)


def test_data_that_do_not_fit_an_environment_are_refused():
    env = ft.open_env(PENDULUM)
    for data, message in (
        (_data(dt=0.1), "time steps of 0.1 s, and .* of 0.05 s"),
        (_data(states=("a", "b", "c")), "has 3 states"),
        (_data(actions=("a", "b")), "has 2 actions"),
        (_data(states=("angle (deg)", "rate")), "convert the data to the same unit"),
    ):
        with pytest.raises(UsageError, match=message):
            episodes_for(data, env)
    _, notes = episodes_for(_data(actions=("torque",)), env)  # no unit is said
    assert any("torque as torque (N m)" in note for note in notes)
    _, notes = episodes_for(_data(states=("q", "v"), dt=None), env)
    assert any("matched by their order: q as angle (rad)" in note for note in notes)
    assert any("0.05 s is assumed" in note for note in notes)


def test_discrete_actions_and_rewards_that_must_be_learned():
    env = ft.open_env("CartPole-v1")
    names = tuple(f"x[{i}]" for i in range(4))
    with pytest.raises(UsageError, match="has no rewards"):
        episodes_for(_data(states=names, dt=0.02, rewarded=False), env)
    with pytest.raises(UsageError, match="whole numbers from 0 to 1"):
        episodes_for(_data(states=names, dt=0.02), env)
    episodes, _ = episodes_for(_data(states=names, dt=0.02, steps=2), env)
    assert episodes[0].u.dtype == np.int32 and episodes[0].u.tolist() == [0, 1] and episodes[0].reward[1] == 1


@pytest.mark.filterwarnings("ignore:note")
def test_training_starts_with_recorded_episodes_and_resumes_exactly(tmp_path):
    first = ft.train(Recorded(), ToyEnv(), iterations=2, out=tmp_path / "first", progress=False)
    source = str(first.path)
    whole = ft.train(Recorded(), ToyEnv(), iterations=3, data=source, out=tmp_path / "whole", progress=False)
    assert int(whole.state.buffer.size) == 14 + 21 and whole.progress.env_steps == 21
    record = whole.info["data"]
    assert record["source"] == source and record["steps"] == 14 and record["episodes"] == 2
    ft.train(Recorded(), ToyEnv(), iterations=1, data=source, out=tmp_path / "parts", progress=False)
    parts = ft.train(Recorded(), ToyEnv(), iterations=3, out=tmp_path / "parts", resume=True, progress=False)
    assert leaves(parts.state) == leaves(whole.state)
    with pytest.raises(UsageError, match="data.source"):
        ft.train(Recorded(), ToyEnv(), iterations=4, data=tmp_path / "parts", out=tmp_path / "whole", resume=True)


@pytest.mark.filterwarnings("ignore:note", "ignore:the 0 steps", "ignore:.*before the failure")
def test_a_run_that_failed_in_its_first_round_starts_from_the_same_data_again(tmp_path):
    first = ft.train(Recorded(), ToyEnv(), iterations=2, out=tmp_path / "first", progress=False)
    how = {"iterations": 2, "out": tmp_path / "run", "progress": False}
    with pytest.raises(EnvironmentFailure):
        ft.train(Recorded(), ToyEnv(fails_at=1), data=first.path, **how)
    moved = next((first.path / "transitions").glob("*-000002.safetensors")).rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="the data in .*first have changed since the run began"):
        ft.train(Recorded(), ToyEnv(), resume=True, **how)
    moved.rename(first.path / "transitions" / "episode-000002.safetensors")
    run = ft.train(Recorded(), ToyEnv(), resume=True, **how)
    assert int(run.state.buffer.size) == 14 + 14 and run.info["data"]["steps"] == 14


def test_only_some_algorithms_start_from_data(tmp_path):
    run = ft.train(Wander(2), ToyEnv(), iterations=1, out=tmp_path / "run", progress=False)
    with pytest.raises(UsageError, match="Wander does not start from recorded data"):
        ft.train(Wander(2), ToyEnv(), iterations=1, data=run.path, out=tmp_path / "other")
    with pytest.raises(UsageError, match="does not exist"):
        ft.train(Recorded(), ToyEnv(), iterations=1, data=tmp_path / "none.csv", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_experience_of_a_run_keeps_its_names(tmp_path):
    run = ft.train(Recorded(), ToyEnv(), iterations=2, out=tmp_path / "run", progress=False)
    for source in (run.path, run.path / "transitions"):
        data = open_data(source)
        assert data.states == ("x[0]", "x[1]") and data.dt == 0.1 and data.steps == 14 and data.rewarded
    named = open_data(run.path, DataOptions(states=("position (m)", "velocity (m/s)"), rows=7))
    assert named.states[0] == "position (m)" and named.steps == 7
    with pytest.raises(UsageError, match="has 2 states, and 1 names were given"):
        open_data(run.path, DataOptions(states=("a",)))
    with pytest.raises(UsageError, match="steps of 0.1 s, and a time step of 0.2 s"):
        open_data(run.path, DataOptions(dt=0.2))
    with pytest.raises(UsageError, match="GiB of episodes"):
        open_data(run.path, most_bytes=10)


def test_names_and_the_time_step_go_through_minari(tmp_path, monkeypatch):
    pytest.importorskip("h5py")
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    env = ToyEnv()
    env.space = type(env.space)(2, names=("position (m)", "velocity (m/s)"))
    run = ft.train(Recorded(), env, iterations=2, out=tmp_path / "run", progress=False)
    export_minari(run, "toys/point-v0")
    data = open_data("toys/point-v0")
    assert data.states == ("position (m)", "velocity (m/s)") and data.actions == ("u[0]",) and data.dt == 0.1
    for mine, theirs in zip(data.episodes, transitions.load_episodes(run.path / "transitions"), strict=True):
        for name in transitions.FIELDS:
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


def test_the_model_of_a_run_directory_as_data(fitted, tmp_path):
    """The run of a fit is data itself, with the names of its file."""
    run, path = fitted
    data, again = open_data(run.path), open_data(path, DataOptions(actions=("torque",)))
    assert (data.states, data.actions, data.dt) == (again.states, again.actions, again.dt)
    np.testing.assert_array_equal(data.episodes[2].x, again.episodes[2].x)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [ft.PETS, ft.Iterative, ft.FitOnce, ft.Backprop, ft.PILCO, ft.MBMF])
def test_algorithms_learn_from_data_before_their_first_round(algorithm, tmp_path):
    env = ft.open_env(PENDULUM)
    data = open_data(pendulum_log(tmp_path), DataOptions(actions=("torque",)))
    episodes, _ = episodes_for(data, env)
    settings = algorithm()
    if hasattr(settings, "model") and isinstance(settings.model, ft.Ensemble):
        settings = replace(settings, model=replace(SMALL, members=settings.model.members))
    state = settings.init(env, key=jr.key(0))
    after = settings.with_data(state, env, episodes, key=jr.key(1))
    found = getattr(after, "model_based", getattr(after, "experience", after))
    assert int(found.buffer.size) == 120
    if algorithm in (ft.PETS, ft.Iterative, ft.FitOnce, ft.MBMF):
        assert int(found.episodes) == 4 and int(found.learned.rows) == 120  # no random episode is taken


def test_reports_are_written_again(fitted, tmp_path):
    assert write_report([fitted[0].path], out=tmp_path / "again.html").stat().st_size > 10_000
