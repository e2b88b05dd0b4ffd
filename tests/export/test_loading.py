"""An export on its own: damaged files, no pickle, no Forethought, latency in a process of its own."""

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from controllers import run_of

from forethought.cli import main as cli
from forethought.export import control_loop, standalone
from forethought.export.exporting import export_run
from forethought.export.standalone import ExportError, load


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loading")
    run = run_of("affine", folder / "run")
    return export_run(run, folder / "out", forms=("numpy", "stablehlo"), latency_steps=20, compared=3)


@pytest.fixture
def copy(export, tmp_path):
    return Path(shutil.copytree(export.path, tmp_path / "copy"))


@pytest.mark.parametrize(("file", "form"), [("policy.npz", "numpy"), ("step.stablehlo", "stablehlo")])
def test_a_tampered_file_is_refused(file, form, copy):
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(ExportError, match=f"{file} is damaged"):
        load(copy, form)


def test_missing_files_and_foreign_manifests_are_refused(copy):
    (copy / "policy.npz").unlink()
    with pytest.raises(ExportError, match="policy.npz cannot be read"):
        load(copy, "numpy")
    with pytest.raises(ExportError, match="no form 'onnx'; it has: numpy, stablehlo"):
        load(copy, "onnx")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["forms"]["numpy"]["file"] = "../policy.npz"
    manifest["files"]["../policy.npz"] = {"sha256": ""}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="does not list"):
        load(copy, "numpy")
    (copy / "manifest.json").write_text("[")
    with pytest.raises(ExportError, match="is damaged"):
        load(copy)
    with pytest.raises(ExportError, match="contains no export"):
        load(copy / "nothing")


def test_pickled_objects_are_never_loaded(copy):
    """Even in a file whose digest is right."""
    arrays = dict(np.load(copy / "policy.npz"))
    arrays["a0"] = np.array([{"an": "object"}], dtype=object)
    np.savez(copy / "policy.npz", **arrays)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["policy.npz"]["sha256"] = hashlib.sha256((copy / "policy.npz").read_bytes()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ExportError, match="something other than arrays"):
        load(copy, "numpy")


def test_the_loader_needs_numpy_only():
    """Other packages are imported inside the functions that need them."""
    for module, allowed in ((standalone, {"numpy"}), (control_loop, set())):
        tree = ast.parse(Path(module.__file__).read_text())
        names = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) == allowed


def test_it_runs_where_forethought_and_jax_cannot_be_imported(export):
    code = """
import sys
sys.modules["forethought"] = sys.modules["jax"] = None
sys.path.insert(0, sys.argv[1])
from controller import load
controller = load(sys.argv[1], "numpy")
print(controller.act([0.1, 0.2, 0.3, 0.4]).tolist())
"""
    done = subprocess.run([sys.executable, "-I", "-c", code, export.path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), load(export.path, "numpy").act([0.1, 0.2, 0.3, 0.4]), atol=1e-6)


def test_latency_is_measured_in_a_process_of_its_own(export):
    for form in ("numpy", "stablehlo"):
        latency = export.manifest["forms"][form]["latency_s"]
        assert (
            latency["steps"] == 20 and 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["longest"] < 5
        )


def test_an_observation_of_another_shape_is_refused(export):
    with pytest.raises(ValueError, match=r"shape \[3\]; expected \[4\]"):
        load(export.path).act([1.0, 2.0, 3.0])


def test_examples_are_repeated_on_another_machine(export):
    assert standalone.check(export.path, "numpy") <= 1e-5
    assert standalone.check(export.path, "stablehlo") <= 1e-5


def test_the_command(export, tmp_path, monkeypatch, capsys):
    from controllers import Fixed

    from forethought.runs import run as runs

    source = export.path.parent / "run"
    monkeypatch.setattr(runs, "from_plain", lambda plain: Fixed("affine"))
    words = ["export", str(source), "--out", str(tmp_path / "out"), "--forms", "numpy", "--latency-steps", "0"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "numpy" in out and f"export: {tmp_path / 'out'}" in out
    assert cli.main(words) == 2
    assert "already exists: choose another --out" in capsys.readouterr().err
