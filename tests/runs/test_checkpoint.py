import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from toy import LeastSquares, ToyEnv, leaves

import forethought as ft
from forethought.core import CheckpointError
from forethought.runs import checkpoint
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.run import load


class State(eqx.Module):
    table: dict
    key: jax.Array
    count: int
    rate: float
    flag: bool
    function: object = jnp.tanh


def _state(rows=3, seed=0):
    table = {
        "a": jnp.arange(float(rows)),
        "half": jnp.ones(2, jnp.bfloat16) / 3,
        "host": np.arange(6.0).reshape(2, 3).T,  # Fortran order, float64
        "scalar": jnp.asarray(2, jnp.uint8),
        "keys": (jr.split(jr.key(seed), 2), jr.key(seed, impl="rbg")),
        "none": None,
        "empty": jnp.zeros((0, 2)),
    }
    return State(table, jr.key(seed + 1), seed + 4, 0.1, True)


def _save(folder, state, iteration=1):
    checkpoint.save(folder, state, TrainingProgress(iteration, 10 * iteration, iteration, 1.5, None), "settings")


def test_every_kind_of_leaf_comes_back_bitwise_identical(tmp_path):
    _save(tmp_path, _state(rows=5))
    restored, progress = checkpoint.load(tmp_path, 1, _state(rows=3, seed=9), "settings")
    assert leaves(restored) == leaves(_state(rows=5))
    assert progress == TrainingProgress(1, 10, 1, 1.5, None)
    assert restored.function is jnp.tanh and restored.flag is True and type(restored.count) is int
    assert isinstance(restored.table["host"], np.ndarray) and restored.table["half"].dtype == jnp.bfloat16
    same = [jr.normal(state.table["keys"][1], (3,)) for state in (restored, _state())]
    np.testing.assert_array_equal(*same)


def test_only_the_last_few_are_kept(tmp_path):
    for iteration in range(1, 6):
        _save(tmp_path, _state(), iteration)
    assert checkpoint.iterations(tmp_path) == [3, 4, 5]
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [f"00000{i}.safetensors" for i in (3, 4, 5)]
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("end", ["safetensors", "json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_damage_is_noticed(tmp_path, end, damage):
    _save(tmp_path, _state())
    path = tmp_path / f"000001.{end}"
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-20], "flip": content, "empty": b""}[damage])
    with pytest.raises(CheckpointError, match=f"000001.{end}"):
        checkpoint.load(tmp_path, 1, _state())


def test_a_changed_number_in_the_json_is_noticed(tmp_path):
    _save(tmp_path, _state())
    path = tmp_path / "000001.json"
    manifest = json.loads(path.read_text())
    manifest["standing"]["env_steps"] = 0
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="truncated or altered"):
        checkpoint.load(tmp_path, 1, _state())


def test_a_state_of_another_structure_is_refused(tmp_path):
    _save(tmp_path, _state())
    fewer = eqx.tree_at(lambda s: s.table, _state(), {"a": jnp.zeros(3), "b": jnp.zeros(1)})
    with pytest.raises(CheckpointError, match=r"lacks \[\"\.table\['b'\]\"\] and has .*'empty'"):
        checkpoint.load(tmp_path, 1, fewer)
    whole = eqx.tree_at(lambda s: s.table["a"], _state(), jnp.zeros(3, jnp.int32))
    with pytest.raises(CheckpointError, match="'jax float32' where 'jax int32' is expected"):
        checkpoint.load(tmp_path, 1, whole)
    with pytest.raises(CheckpointError, match="other settings"):
        checkpoint.load(tmp_path, 1, _state(), "others")


def test_a_state_that_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"leaf \['name'\] is a str"):
        _save(tmp_path, {"name": "text"})


def test_resume_goes_back_to_an_intact_checkpoint_and_says_so(tmp_path):
    run = ft.train(LeastSquares(), ToyEnv(), iterations=4, out=tmp_path / "run", progress=False)
    newest = run.path / "checkpoints/000004.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="000004.safetensors is damaged.*--resume, which goes back to round 3"):
        _ = load(run.path, algorithm=LeastSquares(), env=ToyEnv()).state
    assert load(run.path, algorithm=LeastSquares(), env=ToyEnv(), iteration=3).state.rounds == 3
    with pytest.warns(UserWarning, match="000004.safetensors is damaged.*Going back to round 3"):
        again = ft.train(LeastSquares(), ToyEnv(), iterations=4, out=run.path, resume=True, progress=False)
    assert leaves(again.state) == leaves(run.state) and len(again.metrics) == 4
    assert leaves(load(run.path, algorithm=LeastSquares(), env=ToyEnv()).state) == leaves(run.state)


def test_without_an_intact_checkpoint_nothing_is_thrown_away(tmp_path):
    run = ft.train(LeastSquares(), ToyEnv(), iterations=2, out=tmp_path / "run", progress=False)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    for path in (run.path / "checkpoints").glob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged.*another --out"):
        ft.train(LeastSquares(), ToyEnv(), iterations=4, out=run.path, resume=True, progress=False)
    for path in (run.path / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(CheckpointError, match="are gone.*another --out"):
        ft.train(LeastSquares(), ToyEnv(), iterations=4, out=run.path, resume=True, progress=False)
    kept = {path: content for path, content in before.items() if "checkpoints" not in str(path)}
    assert all(path.read_bytes() == content for path, content in kept.items())
