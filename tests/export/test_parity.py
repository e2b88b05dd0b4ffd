"""Every kind of controller: the exported forms act as the original, on observations that the export did not try."""

import importlib.util
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from controllers import KINDS, make, run_of

from forethought.core import Box, Discrete, Observations, Spaces, UsageError
from forethought.dynamics.space import StateSpace
from forethought.export import exporting, standalone
from forethought.export.deployable import Prepared
from forethought.export.exporting import export_run
from forethought.export.onnx_graph import onnx_model
from forethought.export.operations import operations_of
from forethought.export.parity import ParityError
from forethought.policies.acting import Acting
from forethought.policies.network import on_policy
from forethought.policies.squashed import RBF, SquashedPolicy

pytest.importorskip("onnxruntime")

POLICIES = [kind for kind in KINDS if kind != "mpc"]
FEW = {"latency_steps": 0, "compared": 4}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`exported(kind)`: the run and its export, made once."""
    made = {}

    def of(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            run = run_of(kind, folder / "run")
            made[kind] = run, export_run(run, folder / "out", **FEW)
        return made[kind]

    return of


def loader(folder):
    """The copy of the loader in an export, as a module of its own."""
    spec = importlib.util.spec_from_file_location("controller", folder / "controller.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def observations(run, count, seed):
    """Random observations of the run's environment."""
    about, generator = run.env, np.random.default_rng(seed)
    if run.env.space.size == 1:  # the maze
        return generator.integers(0, 54, count).astype(np.int32).reshape(count, *about.observations.shape)
    return generator.normal(size=(count, about.space.size)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_acts_as_the_controller(kind, exported):
    run, export = exported(kind)
    expected = {"numpy", "onnx", "stablehlo"} if kind in POLICIES else {"stablehlo"}
    assert set(export.forms) == expected and set(export.left_out) == {"numpy", "onnx"} - expected
    controller, space = make(kind, run.env), run.env.task.action_space
    xs, words = observations(run, 6, seed=3), np.array([5, 9], np.uint32)
    key = jr.wrap_key_data(jnp.asarray(words))
    carry = controller.init(jnp.asarray(xs[0]), key=key)
    wanted = []
    for t, x in enumerate(xs):
        u, carry = controller.act(jnp.asarray(x), jnp.asarray(3 * t), carry, key=key)
        wanted.append(np.asarray(space.clip(u)))
    assert np.ptp(np.asarray(wanted, float), axis=0).max() > 0  # the test can fail
    for form in export.forms:
        loaded = loader(export.path).load(export.path, form)
        found = [loaded.act(x, 3 * t, words) for t, x in enumerate(xs)]
        assert found[0].dtype == wanted[0].dtype and found[0].shape == wanted[0].shape
        np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), atol=1e-5 if form != "stablehlo" else 1e-4)
        assert loaded.valid and loaded.fallbacks == 0


def test_large_weights_that_nearly_cancel_are_computed_in_float64():
    """Close centers: weights of thousands, whose sum in float32 is off by 1e-4 and differs from program to program."""
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(40, 3)).astype(np.float32)
    targets = generator.normal(size=(40, 1)).astype(np.float32)
    function = RBF(jnp.asarray(centers), jnp.asarray(targets), jnp.ones((1, 3)))
    policy = Prepared.of(SquashedPolicy(function, Box(-jnp.ones(1), jnp.ones(1)), jnp.ones(3), StateSpace(3)))
    operations = operations_of(policy)
    x = generator.normal(size=3).astype(np.float32)

    exact, lengthscale = centers.astype(np.float64), float(np.float32(np.exp(1.0)))
    apart = np.sum((exact[:, None] - exact[None]) ** 2, axis=-1)
    beta = np.linalg.solve(np.exp(-0.5 * apart / lengthscale**2) + 1e-4 * np.eye(40), targets[:, 0])
    value = beta @ np.exp(-0.5 * np.sum((x - exact) ** 2, axis=-1) / lengthscale**2)
    wanted = (9 * np.sin(value) + np.sin(3 * value)) / 8
    assert np.abs(beta).max() > 1000
    u, _ = eqx.filter_jit(policy.act)(jnp.asarray(x), jnp.asarray(0), (), key=jr.key(0))
    np.testing.assert_allclose(u, [wanted], atol=1e-5)

    found = x
    for operation in operations.steps:
        arrays = {role: operations.arrays[name] for role, name in operation.get("arrays", {}).items()}
        found = standalone._OPERATIONS[operation["name"]](found, {**operation, **arrays})
    np.testing.assert_allclose(found, [wanted], atol=1e-5)

    import onnxruntime

    model = onnx_model(operations, ((3,), "float32"), ((1,), "float32"), None, np.zeros(1, np.float32))
    u, _ = onnxruntime.InferenceSession(model).run(None, {"observation": x})
    np.testing.assert_allclose(u, [wanted], atol=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "nearest", "mpc"])
def test_a_value_that_is_not_finite_yields_the_fallback_and_leaves_the_memory(kind, exported):
    run, export = exported(kind)
    xs, words = observations(run, 3, seed=4), np.array([5, 9], np.uint32)
    for form in export.forms:
        loaded = loader(export.path).load(export.path, form)
        loaded.act(xs[0], 0, words)
        undisturbed = loaded.act(xs[1], 1, words)
        loaded.reset()
        loaded.act(xs[0], 0, words)
        for value in (np.nan, np.inf, 1e300):
            disturbed = xs[1].astype(float)
            disturbed[1] = value
            np.testing.assert_array_equal(loaded.act(disturbed, 1, words), np.zeros(2))
            assert not loaded.valid
        np.testing.assert_array_equal(loaded.act(xs[1], 1, words), undisturbed)
        assert loaded.valid and loaded.fallbacks == 3


def test_the_programs_check_by_themselves(exported):
    """Without the loader: the StableHLO program and the ONNX graph."""
    import onnxruntime

    _, export = exported("gaussian")
    bad = np.array([0, np.nan, 0, 0], np.float32)
    step = jax.export.deserialize(bytearray((export.path / "step.stablehlo").read_bytes()))
    u, valid, planned, memory = step.call(bad, np.int32(0), np.zeros(2, np.uint32), ())
    assert not valid and not np.any(u) and planned.shape == (0, 2) and memory == ()
    session = onnxruntime.InferenceSession((export.path / "policy.onnx").read_bytes())
    u, valid = session.run(None, {"observation": bad})
    assert not valid and not np.any(u)


def test_the_plan_of_a_planner_is_exported(exported):
    run, export = exported("mpc")
    loaded, x, words = loader(export.path).load(export.path), observations(run, 1, 0)[0], np.array([1, 2], np.uint32)
    planned = loaded.plan(x)
    assert planned.shape == (4, 2)
    loaded.reset()
    u = loaded.act(x, 0, words)
    np.testing.assert_allclose(loaded.planned[0], u, atol=1e-6)
    assert loader(exported("affine")[1].path).load(exported("affine")[1].path).plan(x).shape == (1, 2)


def test_the_manifest_says_what_the_files_take_and_give(exported):
    _, export = exported("rbf")
    manifest = json.loads((export.path / "manifest.json").read_text())
    assert manifest["observation"]["coordinates"][0] == {"name": "shoulder angle", "unit": "rad"}
    assert manifest["observation"]["shape"] == [4] and manifest["observation"]["angles"] == [0, 1]
    action = manifest["action"]
    assert np.allclose(np.subtract(action["high"], action["low"]), action["range"]) and action["dtype"] == "float32"
    assert manifest["forms"]["onnx"]["parity"]["largest"] <= 1e-5 == manifest["forms"]["onnx"]["parity"]["tolerance"]
    assert manifest["time_step_s"] == pytest.approx(0.05) and manifest["delay"] is None
    assert set(manifest["files"]) == {path.name for path in export.path.iterdir()} - {"manifest.json"}


def test_a_form_that_differs_fails_the_export(tmp_path, monkeypatch):
    run = run_of("affine", tmp_path / "run")

    def altered(controller):
        found = operations_of(controller)
        name = next(name for name, array in found.arrays.items() if array.ndim == 2)
        found.arrays[name] = found.arrays[name] + 1e-3
        return found

    monkeypatch.setattr(exporting, "operations_of", altered)
    with pytest.raises(ParityError, match="the form 'numpy' differs from the controller by .* nothing was exported"):
        export_run(run, tmp_path / "out", forms=("numpy",), **FEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_wrong_requests(tmp_path, exported):
    run, export = exported("affine")
    with pytest.raises(UsageError, match="already exists"):
        export_run(run, export.path)
    with pytest.raises(UsageError, match="forms are some of"):
        export_run(run, tmp_path / "a", forms=("tflite",))
    with pytest.raises(UsageError, match="platforms are some of cpu, cuda"):
        export_run(run, tmp_path / "a", forms=("stablehlo",), platforms=("robot",), **FEW)
    with pytest.raises(UsageError, match="fallback must be an action within the limits, of 2 numbers"):
        export_run(run, tmp_path / "a", fallback=(1e9, 0.0))
    run, _ = exported("mpc")
    with pytest.raises(UsageError, match="nothing to export: a MPC is not a policy"):
        export_run(run, tmp_path / "a", forms=("numpy",))
    assert not any(tmp_path.iterdir())


def test_another_fallback_action(tmp_path, exported):
    run, _ = exported("affine")
    limit = float(run.env.task.action_space.high[0])
    export = export_run(run, tmp_path / "out", forms=("numpy",), fallback=(limit, -limit), **FEW)
    loaded = loader(export.path).load(export.path)
    np.testing.assert_allclose(loaded.act(np.full(4, np.nan)), [limit, -limit])


@pytest.mark.parametrize("shape", [(10, 10, 4), (2, 12, 11), (9, 8)], ids=str)
def test_networks_for_images(shape):
    """The operations themselves, on images of bytes with the channels last, first and absent."""
    import onnxruntime

    spaces = Spaces(Observations(shape, "uint8"), Discrete(3))
    policy = on_policy(spaces, hidden=(8,), normalize=False, who="test", key=jr.key(0))
    network = jax.tree.map(lambda w: 0.3 * jr.normal(jr.key(1), w.shape), policy.network)
    policy = type(policy)(policy.inputs, network)
    operations = operations_of(Acting(policy, mode=True))
    model = onnx_model(operations, (shape, "uint8"), ((), "int32"), None, np.int32(0))
    session = onnxruntime.InferenceSession(model)
    images = np.random.default_rng(0).integers(0, 256, (8, *shape)).astype(np.uint8)
    wanted = np.asarray(jax.vmap(lambda x: policy(x).logits)(images))
    assert np.ptp(wanted, axis=0).min() > 0.1  # images matter
    for image, logits in zip(images, wanted, strict=True):
        value = image
        for one in operations.steps[:-1]:  # without argmax
            arrays = {k: operations.arrays[v] for k, v in one.get("arrays", {}).items()}
            value = standalone._OPERATIONS[one["name"]](value, {**one, **arrays})
        np.testing.assert_allclose(value, logits, rtol=1e-4, atol=1e-4)
        u, valid = session.run(None, {"observation": image})
        assert valid and u == np.argmax(logits)
