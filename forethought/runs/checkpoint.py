"""Checkpoints: the arrays of a state in a safetensors file, and a JSON manifest.

`000012.safetensors` holds the leaves of the state after round 12.  The manifest `000012.json` is written afterwards and
makes the checkpoint valid: it lists the arrays, their SHA-256, and the progress of the run.  Neither file contains
code: the algorithm defines the structure of the state, and the arrays are assigned by name.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import jax.tree_util as jtu
import numpy as np
import safetensors.numpy

from forethought.core.errors import CheckpointError
from forethought.runs.files import sync_directory, write_json, write_whole
from forethought.runs.serialization import fingerprint

FORMAT = 1
KEPT = 3

_NATIVE = frozenset("float64 float32 float16 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool".split())


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a run after a whole round."""

    iteration: int = 0  # rounds done
    env_steps: int = 0  # real steps taken
    episodes: int = 0  # real episodes ended
    wall_s: float = 0.0  # s of training, over all sessions
    solved: bool | None = None  # whether the last episode passed the task's success test; None if it has none
    summarized: int = 0  # those of the episodes of which only return and length were kept

    @property
    def recorded(self) -> int:
        """Episodes that are written to the run directory."""
        return self.episodes - self.summarized


def save(folder: Path, state: Any, progress: TrainingProgress, settings: str) -> None:
    """Write a checkpoint of `state`, then delete all but the last few.

    Args:
        folder: `checkpoints/` of the run.
        state: the algorithm's state.
        progress: the progress of the run.
        settings: fingerprint of the run's settings.
    Raises:
        StorageError: the checkpoint cannot be written; earlier checkpoints are intact.
        TypeError: a leaf of the state is not an array, number or function.
    """
    leaves = {name: _pack(name, leaf) for name, leaf in named_leaves(state).items() if not callable(leaf)}
    arrays = {name: array for name, (array, _) in leaves.items()}
    content = safetensors.numpy.save(arrays)
    arrays_path, manifest_path = _paths(folder, progress.iteration)
    manifest_path.unlink(missing_ok=True)  # an old manifest does not describe the new arrays
    write_whole(arrays_path, content)
    manifest = {
        "format": FORMAT,
        "standing": dataclasses.asdict(progress),
        "settings": settings,
        "sha256": hashlib.sha256(content).hexdigest(),
        "leaves": {name: {"kind": kind, "shape": list(arrays[name].shape)} for name, (_, kind) in leaves.items()},
    }
    write_json(manifest_path, {**manifest, "digest": fingerprint(manifest)})
    for old in [number for number in iterations(folder) if number <= progress.iteration][:-KEPT]:
        for path in reversed(_paths(folder, old)):
            path.unlink(missing_ok=True)
    sync_directory(folder)


def iterations(folder: Path) -> list[int]:
    """The rounds that have a checkpoint, oldest first; damage is detected on loading."""
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())


def load(folder: Path, iteration: int, skeleton: Any, settings: str | None = None) -> tuple[Any, TrainingProgress]:
    """The state after round `iteration`, and the progress of the run.

    Args:
        folder: `checkpoints/` of the run.
        iteration: one of `iterations(folder)`.
        skeleton: a state of the same structure, from `algorithm.init`; shapes may differ.
        settings: required fingerprint of the settings; None accepts any.
    Raises:
        CheckpointError: the checkpoint is truncated, altered, or of another structure; the message names the file.
    """
    arrays_path, manifest_path = _paths(folder, iteration)
    manifest = _read_manifest(manifest_path)
    if settings is not None and manifest["settings"] != settings:
        raise CheckpointError(f"{manifest_path} belongs to a run with other settings.")
    arrays = _read_arrays(arrays_path, manifest["sha256"])
    expected = {name: leaf for name, leaf in named_leaves(skeleton).items() if not callable(leaf)}
    missing, extra = sorted(expected.keys() - arrays.keys()), sorted(arrays.keys() - expected.keys())
    if missing or extra:
        raise CheckpointError(
            f"{arrays_path} does not fit this algorithm's state: it lacks {missing or 'nothing'} and has "
            f"{extra or 'nothing'} in addition. Load it with the version and settings that wrote it."
        )
    kinds = {name: leaf["kind"] for name, leaf in manifest["leaves"].items()}

    def restore(path: tuple, leaf: Any) -> Any:
        name = jtu.keystr(path)
        return leaf if callable(leaf) else _unpack(arrays[name], kinds[name], leaf, f"{name} in {arrays_path}")

    return jtu.tree_map_with_path(restore, skeleton), TrainingProgress(**manifest["standing"])


def named_leaves(state: Any) -> dict[str, Any]:
    """The leaves of a state, by their path in the pytree."""
    return {jtu.keystr(path): leaf for path, leaf in jtu.tree_leaves_with_path(state)}


def _paths(folder: Path, iteration: int) -> tuple[Path, Path]:
    return folder / f"{iteration:06d}.safetensors", folder / f"{iteration:06d}.json"


def _read_manifest(path: Path) -> dict[str, Any]:
    damaged = CheckpointError(f"{path} is damaged: it was truncated or altered after it was written.")
    try:
        manifest = json.loads(path.read_bytes())
        digest = manifest.pop("digest")
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {path}.") from None
    except (ValueError, KeyError, AttributeError) as problem:
        raise damaged from problem
    if manifest.get("format", 0) > FORMAT:
        raise CheckpointError(f"{path} was written by a newer version of Forethought; upgrade to read it.")
    if fingerprint(manifest) != digest:
        raise damaged
    return manifest


def _read_arrays(path: Path, sha256: str) -> dict[str, np.ndarray]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing.") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(f"{path} is damaged: it was truncated or altered after it was written.")
    return safetensors.numpy.load(content)


def _pack(name: str, leaf: Any) -> tuple[np.ndarray, str]:
    """A leaf as an array for safetensors, and its kind: `jax float32`, `key threefry2x32`, `python int`."""
    if isinstance(leaf, bool | int | float):
        return np.asarray(leaf), f"python {type(leaf).__name__}"
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return np.asarray(jr.key_data(leaf)), f"key {jr.key_impl(leaf)}"
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
        raise TypeError(f"the state's leaf {name} is a {type(leaf).__name__}; a state holds arrays only.")
    array = np.asarray(leaf, order="C")
    owner = "jax" if isinstance(leaf, jax.Array) else "numpy"
    if array.dtype.name not in _NATIVE:  # such as bfloat16: safetensors for NumPy can store only its bits
        array = array.view(f"uint{8 * array.dtype.itemsize}")
    return array, f"{owner} {np.asarray(leaf).dtype.name}"


def _unpack(array: np.ndarray, kind: str, example: Any, name: str) -> Any:
    """The leaf from which `_pack` made the array; its kind must be that of `example`."""
    expected = _pack(name, example)[1]
    if kind != expected:
        raise CheckpointError(f"{name} is '{kind}' where '{expected}' is expected; load it as it was trained.")
    owner, _, detail = kind.partition(" ")
    if owner == "python":
        return array.item()
    if owner == "key":
        return jr.wrap_key_data(jnp.asarray(array), impl=detail)
    restored = array.view(jnp.dtype(detail)) if detail not in _NATIVE else array
    return jnp.asarray(restored) if owner == "jax" else restored
