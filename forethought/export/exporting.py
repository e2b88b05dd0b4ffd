"""`export_run`: a run's controller as files that run without Forethought.

manifest.json             what the controller takes and gives, its limits, digests of the files, parity, latency
controller.py             loads and runs the other files; needs NumPy only (`standalone.py`)
control_loop.py           calls a controller at a fixed rate (`control_loop.py`)
policy.npz                a policy's arrays, whose operations the manifest lists
policy.onnx               the same policy for ONNX Runtime
start.stablehlo, step.stablehlo     any controller for JAX
examples.npz              observations and actions, for a check on the target machine
The directory is made under another name and renamed when everything, the parity test included, has passed.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from forethought.core import Box, UsageError
from forethought.core.delay import Delay
from forethought.envs.acting import runs_on_host
from forethought.envs.env import spaces_of
from forethought.export.deployable import Deployable, deployable
from forethought.export.manifest import manifest_of
from forethought.export.onnx_graph import onnx_model
from forethought.export.operations import NotExpressibleError, Operations, operations_of
from forethought.export.parity import TOLERANCE, Case, Parity, cases, compare, ranges_of
from forethought.export.programs import stablehlo_programs
from forethought.export.standalone import MANIFEST, load
from forethought.planning.mpc import Latency
from forethought.runs import transitions
from forethought.runs.files import storage_errors, write_json, write_whole
from forethought.runs.run import Run

FORMS = ("stablehlo", "onnx", "numpy")
HERE = Path(__file__).parent
CODE = {"controller.py": HERE / "standalone.py", "control_loop.py": HERE / "control_loop.py"}


class FormReport(NamedTuple):
    """What was measured of one form."""

    parity: Parity
    latency: Latency | None


class Export(NamedTuple):
    """An exported controller."""

    path: Path
    forms: dict[str, FormReport]
    left_out: dict[str, str]  # forms that the controller does not have, and why
    manifest: dict[str, Any]


def export_run(
    run: Run | str | Path,
    out: str | Path,
    *,
    forms: Sequence[str] = FORMS,
    fallback: Any = None,
    platforms: Sequence[str] = ("cpu",),
    latency_steps: int = 500,
    compared: int = 50,
) -> Export:
    """Write the controller of `run` to the new directory `out`.

    Args:
        run: a run, or its directory.
        out: must not exist, or be empty.
        forms: some of "stablehlo", "onnx" and "numpy"; the last two exist for policies only.
        fallback: the action where the observation or the computed action is not finite; by default the middle of the
            limits, or choice 0.
        platforms: processors for which the StableHLO programs are made.
        latency_steps: steps whose time is measured for each form, in a process of its own on one core; 0 for none.
        compared: steps of the parity test on recorded, and as many on random observations.
    Raises:
        UsageError: the controller cannot be exported, or `out` contains files.
        ParityError: a form differs from the controller by more than 1e-5 of the range of the actions.
    """
    with jax.default_device(jax.devices("cpu")[0] if "cpu" in platforms else None):  # a GPU rounds products to TF32
        return _exported(
            run if isinstance(run, Run) else Run(run), Path(out), forms, fallback, platforms, latency_steps, compared
        )


def _exported(
    run: Run,
    out: Path,
    forms: Sequence[str],
    fallback: Any,
    platforms: Sequence[str],
    latency_steps: int,
    compared: int,
) -> Export:
    """See `export_run`."""
    source = _deployable(run, fallback)
    _check_forms(forms)
    episodes = transitions.load_episodes(run.path / "transitions")
    with _new_directory(out) as folder:
        files, left_out = _write_forms(folder, source, forms, platforms)
        recorded, random = cases(source, episodes, run.env.task.horizon, recorded=compared, random=compared)
        _write_examples(folder, recorded, random)
        manifest = manifest_of(run, source, files, left_out)
        _write_manifest(folder, manifest)
        ranges = ranges_of(source.actions)
        parities = {form: compare(load(folder, form), recorded, random, ranges) for form in files}
        times = _latencies(folder, list(files), latency_steps)
        reports = {form: FormReport(parities[form], times.get(form)) for form in files}
        for form, report in reports.items():
            about = manifest["forms"][form]
            about["parity"] = {"tolerance": TOLERANCE, **report.parity._asdict()}
            about["latency_s"] = None if report.latency is None else vars(report.latency)
        _write_manifest(folder, manifest)
    return Export(out, reports, left_out, manifest)


def _deployable(run: Run, fallback: Any) -> Deployable:
    controller, env = run.controller, run.env
    if runs_on_host(controller):
        raise UsageError(
            f"{type(controller).__name__} runs on the host only (it reads a clock), so it cannot be exported."
        )
    delay: Delay | None = getattr(env, "delay", None)
    return deployable(controller, spaces_of(env).observations, env.task.action_space, delay, fallback)


def _check_forms(forms: Sequence[str]) -> None:
    wrong = [form for form in forms if form not in FORMS]
    if wrong or not forms:
        raise UsageError(f"forms are some of {', '.join(FORMS)}; got {', '.join(forms) or 'none'}.")


def _write_forms(
    folder: Path, source: Deployable, forms: Sequence[str], platforms: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Write the files of each form; what the manifest says of the forms, and why some are left out."""
    made: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    operations = None
    try:
        operations = operations_of(source.controller)
    except NotExpressibleError as reason:
        left_out = {form: str(reason) for form in forms if form != "stablehlo"}
    if operations is not None and "numpy" in forms:
        _write_arrays(folder / "policy.npz", operations.arrays)
        made["numpy"] = {"file": "policy.npz", "operations": operations.steps}
    if operations is not None and "onnx" in forms:
        write_whole(folder / "policy.onnx", _onnx(source, operations))
        made["onnx"] = {"file": "policy.onnx"}
    if "stablehlo" in forms:
        made["stablehlo"] = _write_programs(folder, source, platforms)
    if not made:
        raise UsageError(f"nothing to export: {'; '.join(left_out.values())}. Add the form stablehlo.")
    return made, left_out


def _write_programs(folder: Path, source: Deployable, platforms: Sequence[str]) -> dict[str, Any]:
    for part, program in stablehlo_programs(source, platforms).items():
        write_whole(folder / f"{part}.stablehlo", program)
    memory = [
        {"name": name, "shape": list(spec.shape), "dtype": str(spec.dtype)}
        for name, spec in zip(source.memory_names(), source.specs()[3], strict=True)
    ]
    return {
        "start": {"file": "start.stablehlo", "inputs": ["observation", "key"], "outputs": ["memory"]},
        "step": {
            "file": "step.stablehlo",
            "inputs": ["observation", "step", "key", "memory"],
            "outputs": ["action", "valid", "planned actions", "memory"],
        },
        "key": {"shape": [2], "dtype": "uint32"},
        "step_index": {"shape": [], "dtype": "int32"},
        "memory": memory,
        "platforms": list(platforms),
    }


def _onnx(source: Deployable, operations: Operations) -> bytes:
    about, actions = source.observations, source.actions
    shape = about.shape if source.delay is None else (source.delay.whole_size,)
    limits = (np.asarray(actions.low), np.asarray(actions.high)) if isinstance(actions, Box) else None
    fallback = np.asarray(source.fallback)
    return onnx_model(operations, (shape, about.dtype), (fallback.shape, str(fallback.dtype)), limits, fallback)


def _write_examples(folder: Path, recorded: list[Case], random: list[Case]) -> None:
    """The cases that begin an episode, which can be repeated without a memory."""
    chosen = [case for case in (*recorded, *random) if case.fresh][:20]
    columns = {"observation": "x", "step": "t", "key": "key", "action": "u"}
    _write_arrays(
        folder / "examples.npz",
        {name: np.stack([np.asarray(getattr(case, field)) for case in chosen]) for name, field in columns.items()},
    )


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with storage_errors(path), open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """The manifest with the digests of all other files."""
    for name, path in CODE.items():
        shutil.copyfile(path, folder / name)
    manifest["files"] = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    write_json(folder / MANIFEST, manifest)


def _latencies(folder: Path, forms: list[str], steps: int) -> dict[str, Latency]:
    """Latency of each form, in a fresh process that does not see Forethought, on one core."""
    if steps == 0:
        return {}
    found = {}
    for form in forms:
        command = [
            sys.executable,
            "-I",
            str(folder / "controller.py"),
            str(folder),
            "--form",
            form,
            "--calls",
            str(steps),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UsageError(f"the form '{form}' fails in a process of its own: {last}")
        found[form] = Latency.of(json.loads(done.stdout)[form]["seconds"])
    return found


@contextlib.contextmanager
def _new_directory(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` at the end of the block, and is removed if the block fails."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} already exists: choose another --out, or remove it.")
    temporary = out.with_name(f".{out.name}-{os.getpid()}")
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    try:
        yield temporary
        with storage_errors(out):
            if out.exists():
                out.rmdir()
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
