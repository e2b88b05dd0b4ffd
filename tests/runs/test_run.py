import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from toy import Feedback, LeastSquares, ToyEnv

import forethought as ft
from forethought.core import CheckpointError, DiagonalGaussian, UsageError
from forethought.policies.acting import Acting
from forethought.runs import metrics, transitions
from forethought.runs.monitored_env import MonitoredEnv
from forethought.runs.run import Evaluation, load


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return ft.train(LeastSquares(), ToyEnv(near=1.0), iterations=2, out=out, progress=False)


def test_an_evaluation_is_what_its_episodes_show(run):
    seen = []
    evaluation = run.evaluate(episodes=4, on_episode=lambda count, total: seen.append((count, total)))
    assert seen == list(enumerate(evaluation.returns, start=1))
    returns = [float(episode.reward.sum()) for episode in evaluation.trajectories]
    assert evaluation.returns == pytest.approx(returns, rel=1e-6) and len(set(returns)) == 4
    assert evaluation.mean == pytest.approx(sum(returns) / 4)
    spread = (sum((r - evaluation.mean) ** 2 for r in evaluation.returns) / 3) ** 0.5
    assert evaluation.std == pytest.approx(spread)
    ends = [np.linalg.norm(episode.x_next[-1]) < 1.0 for episode in evaluation.trajectories]
    assert evaluation.success == np.mean(ends) and 0 < evaluation.success < 1
    assert evaluation.lengths == (7, 7, 7, 7)
    assert evaluation.env_steps == 14 and evaluation.experience_s == pytest.approx(1.4)


def test_an_evaluation_repeats_and_other_seeds_and_training_differ(run):
    def starts(evaluation):
        return [tuple(episode.x[0]) for episode in evaluation.trajectories]

    first, again, other = run.evaluate(3), run.evaluate(3), run.evaluate(3, seed=5)
    assert first.returns == again.returns and first.seed == 0 and other.seed == 5
    trained = [tuple(episode.x[0]) for episode in transitions.load_episodes(run.path / "transitions")]
    assert len({*starts(first), *starts(other), *trained}) == 8


class Wide(eqx.Module):
    """The same normal distribution in every state."""

    def __call__(self, x):
        return DiagonalGaussian(jnp.zeros(1), jnp.ones(1))

    def draw(self, *, key):
        return self


def test_an_evaluation_of_sampled_actions(run, monkeypatch):
    """They differ from step to step where the most probable action is always the same; a plan has none to draw."""
    with pytest.raises(UsageError, match="a Feedback has no distribution over actions to sample from"):
        run.evaluate(1, sampled=True)
    monkeypatch.setattr(type(run), "controller", property(lambda self: Acting(Wide(), mode=True)))
    modes, drawn, again = run.evaluate(1), run.evaluate(1, sampled=True), run.evaluate(1, sampled=True)
    assert not modes.trajectories[0].u.any()
    assert len({*drawn.trajectories[0].u[:, 0].tolist()}) == 7 and drawn.returns == again.returns


def test_an_evaluation_as_json(run):
    alone = run.evaluate(1)
    plain = json.loads(json.dumps(alone.as_json(), allow_nan=False))
    assert {"episodes", "returns", "mean", "std", "success", "env_steps", "experience_s"} <= plain.keys()
    assert plain["std"] is None and plain["returns"] == [alone.mean] and "trajectories" not in plain
    assert isinstance(alone, Evaluation)
    untested = load(run.path, algorithm=LeastSquares(), env=ToyEnv(near=None)).evaluate(2)
    assert untested.success is None and untested.as_json()["success"] is None


def test_acting_keeps_the_memory_of_the_episode(run):
    loaded = load(run.path, algorithm=LeastSquares(), env=ToyEnv())
    u = loaded.act([0.3, 0.1])
    expected = np.clip(-np.asarray(run.state.weights).sum() * 0.4, -1, 1)
    assert isinstance(u, np.ndarray) and u.shape == (1,) and u[0] == pytest.approx(expected, rel=1e-5)
    loaded.act(np.zeros(2))
    assert int(loaded._carry[1]) == 2
    loaded.reset()
    assert loaded.act([0.3, 0.1], t=0) == u and int(loaded._carry[1]) == 1
    with pytest.raises(UsageError, match=r"shape \(2,\), not \(3,\)"):
        loaded.act(np.zeros(3))
    with pytest.raises(UsageError, match="finite observation"):
        loaded.act([np.nan, 0.0])


def test_acting_compiles_once_whatever_the_step_is_given_as(run, caplog):
    loaded = load(run.path, algorithm=LeastSquares(), env=ToyEnv())
    loaded.act(np.zeros(2))
    with jax.log_compiles():
        for t in (1, np.int64(2), np.int32(3), 4.0, jnp.asarray(5)):
            loaded.act(np.zeros(2), t=t)
    assert not [record for record in caplog.records if "_act" in record.getMessage()]


def test_loading_says_what_is_missing(run, tmp_path):
    bare = load(run.path)
    assert len(bare.metrics) == 2 and bare.info["seed"] == 0
    with pytest.raises(CheckpointError, match="toy.LeastSquares, .* pass the algorithm"):
        _ = bare.state
    with pytest.raises(UsageError, match=r"given as an object; pass it again: ft.load\(path, env=...\)"):
        _ = load(run.path, algorithm=LeastSquares()).state
    with pytest.raises(UsageError, match=r"no checkpoint of round 9; it has rounds \[1, 2\]"):
        _ = load(run.path, algorithm=LeastSquares(), env=ToyEnv(), iteration=9).state
    with pytest.raises(UsageError, match="at least 1 episode"):
        run.evaluate(0)
    for path in (run.path / "run.json",):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        _ = load(tmp_path, algorithm=LeastSquares(), env=ToyEnv()).state


def test_episodes_come_back_to_the_bit(run, tmp_path):
    episode = run.evaluate(1).trajectories[0]
    path = transitions.save_episode(tmp_path, 3, episode, {"env": "e", "iteration": 2, "dt": 0.1})
    assert path.name == "episode-000003.safetensors"
    loaded = transitions.load_episode(path)
    for name in transitions.FIELDS:
        old, new = getattr(episode, name), getattr(loaded, name)
        assert isinstance(new, np.ndarray) and old.dtype == new.dtype
        np.testing.assert_array_equal(old, new)
    assert transitions.about_episode(path) == {"env": "e", "iteration": 2, "dt": 0.1}
    names = [transitions.save_episode(tmp_path, 3, episode, {}, partial=True).name for _ in range(2)]
    assert names == ["partial-000003.safetensors", "partial-000003-2.safetensors"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is damaged"):
        transitions.load_episode(path)


def test_metrics_are_cut_at_a_round(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert metrics.read(path) == []
    for i in (1, 2, 3):
        metrics.append(path, {"iteration": i, "loss": float("nan")})
    assert metrics.read(path)[0]["loss"] is None
    assert metrics.truncate(path, 2) is None
    metrics.append(path, {"iteration": 3})
    assert path.read_bytes().endswith(b'{"iteration": 3}\n') and len(metrics.read(path)) == 3


def test_a_monitored_environment_counts_steps_over_episodes():
    told, inner = [], []
    env = MonitoredEnv(ToyEnv(), lambda steps, total: told.append(steps))
    controller = Feedback(jnp.zeros((1, 2)), jnp.zeros(()))
    for i in range(2):
        env.run(controller, key=jr.key(i), on_step=lambda steps, total: inner.append(steps))
    assert told == list(range(1, 15)) and inner == [*range(1, 8), *range(1, 8)]
    assert len(env.episodes) == 2 and env.name == "toys/Point-v0" and env.count == 2
    with pytest.raises(AttributeError, match="nothing"):
        _ = env.nothing
