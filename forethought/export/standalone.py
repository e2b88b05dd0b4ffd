"""Loads and runs an exported controller.  Needs Python, NumPy and the exported directory; Forethought is not needed.

    from controller import load

    controller = load("exported")              # a form: "numpy", "onnx" (ONNX Runtime) or "stablehlo" (JAX)
    action = controller.act(observation)       # once in each control period
    controller.reset()                         # at the start of each episode

The SHA-256 digest of every file is compared with manifest.json, which detects damaged and mixed-up files (not an
attacker who can also write manifest.json).  No file is executed: arrays are read without pickle.

An observation with an entry that is NaN, infinite or out of range, and a computed action that is not finite, yield the
fallback action of the manifest; the memory of the controller stays as it was, and `valid` is False until the next step.

    python controller.py DIR [--form FORM] [--calls N] [--check]
measures the latency of one step on one processor core of this machine, and compares actions with the recorded examples.
"""

import argparse
import hashlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

MANIFEST = "manifest.json"
FORMAT = 1


class ExportError(Exception):
    """The exported directory is damaged, or does not contain what was asked for."""


def load(directory: Any, form: str | None = None, *, seed: int = 0) -> "Controller":
    """The controller in `directory`.

    Args:
        directory: an export.
        form: "numpy", "onnx" or "stablehlo"; by default the first of these that the export contains.
        seed: of the random numbers of controllers that sample, such as sampling planners.
    Raises:
        ExportError: no export, a damaged file, or no such form.
    """
    files = Files(directory)
    forms = files.manifest["forms"]
    form = form or next(name for name in ("numpy", "onnx", "stablehlo") if name in forms)
    if form not in forms:
        raise ExportError(f"{files.path} has no form '{form}'; it has: {', '.join(forms)}.")
    return Controller(files, form, seed)


class Files:
    """An exported directory; `read` verifies digests."""

    def __init__(self, directory: Any):
        self.path = Path(directory)
        try:
            self.manifest = json.loads((self.path / MANIFEST).read_bytes())
            newer = self.manifest["format"] > FORMAT
        except OSError as problem:
            raise ExportError(f"{self.path} contains no export: {MANIFEST} cannot be read.") from problem
        except (ValueError, TypeError, KeyError) as problem:
            raise ExportError(f"{self.path / MANIFEST} is damaged.") from problem
        if newer:
            raise ExportError(f"{self.path} was exported by a newer version of Forethought.")

    def read(self, name: str) -> bytes:
        """The content of a file of the export."""
        known = self.manifest["files"].get(name)
        if known is None or Path(name).name != name:
            raise ExportError(f"{MANIFEST} does not list the file '{name}'.")
        try:
            content = (self.path / name).read_bytes()
        except OSError as problem:
            raise ExportError(f"{self.path / name} cannot be read: {problem.strerror}.") from problem
        if hashlib.sha256(content).hexdigest() != known["sha256"]:
            raise ExportError(f"{self.path / name} is damaged: its SHA-256 digest is not that of {MANIFEST}.")
        return content

    def arrays(self, name: str) -> dict[str, Any]:
        """The arrays of an .npz file; pickled objects are refused."""
        try:
            with np.load(io.BytesIO(self.read(name)), allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except ValueError as problem:
            raise ExportError(f"{self.path / name} contains something other than arrays.") from problem


class Controller:
    """One controller; `steps` counts the calls of `act` since the last `reset`, `fallbacks` the fallback actions."""

    def __init__(self, files: Files, form: str, seed: int):
        self.manifest, self.form = files.manifest, form
        observation, action = self.manifest["observation"], self.manifest["action"]
        self._shape, self._dtype = tuple(observation["shape"]), np.dtype(observation["dtype"])
        counts = observation.get("counts")
        self._counts = None if counts is None else np.reshape(counts, self._shape)
        self._action_dtype = np.dtype(action["dtype"])
        self._fallback = np.asarray(self.manifest["fallback"]["action"], self._action_dtype)
        self._past = None if self.manifest["delay"] is None else PastActions(self.manifest)
        self._program = _FORMS[form](files, self._past)
        self.fallbacks = 0
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """Start an episode: forget the memory; `seed` restarts the random numbers."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self.steps, self.valid, self.planned = 0, True, None
        self._started = False
        if self._past is not None:
            self._past.reset()

    def act(self, observation: Any, t: int | None = None, key: Any = None) -> Any:
        """The action for an observation.

        Args:
            observation: of the shape and in the units of the manifest.
            t: step of the episode, by default the number of calls since `reset`.
            key: two uint32 words for a controller that samples; by default from its own random numbers.
        Returns:
            The action, within the limits of the manifest: an array [m], or an array [] with one integer.
        Raises:
            ValueError: the observation has another shape.
        """
        given = np.asarray(observation)
        if given.shape != self._shape:
            raise ValueError(f"The observation has shape {list(given.shape)}; expected {list(self._shape)}.")
        t, self.steps = self.steps if t is None else t, self.steps + 1
        key = self._key() if key is None else np.asarray(key, np.uint32)
        x, self.planned, u = self._checked(given), None, self._fallback
        self.valid = x is not None
        if self.valid:
            if not self._started:
                self._program.start(x, key)
                self._started = True
            u, self.valid, self.planned = self._program.step(x, np.int32(t), key)
        if not self.valid:
            self.fallbacks, u, self.planned = self.fallbacks + 1, self._fallback, None
        if self._past is not None:
            u = self._past.sent(u)
            self._past.append(u)
            self._program.acted(self._past.actions)
        return np.array(u, self._action_dtype)

    def resume(self, t: int, first: Any, past: Any, memory: Any) -> None:
        """Go on in the middle of an episode, as the parity test does.

        Args:
            t: the next step.
            first: the first observation of the episode, with past actions.
            past: the past actions now; None without a delay.
            memory: the arrays of the memory, of the form "stablehlo".
        """
        self.reset()
        self.steps, self._started = t, True
        if self._past is not None:
            self._past.actions = past
        self._program.resume(first, memory)

    def plan(self, observation: Any, t: int | None = None) -> Any:
        """The actions [H, m] that the controller intends from now on; of a controller that does not plan, H = 1."""
        u = self.act(observation, t)
        return u[None] if self.planned is None else self.planned

    def _key(self) -> Any:
        """New random numbers for a form that uses them."""
        return self._random.integers(0, 2**32, 2, dtype=np.uint32) if self._program.uses_key else None

    def _checked(self, given: Any) -> Any:
        """A copy of the observation in its own dtype; None if an entry is not finite or out of range."""
        if given.dtype == self._dtype:
            x = given.copy()
        elif given.dtype == object or not np.isfinite(given).all():
            return None
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                x = given.astype(self._dtype)
        if self._counts is not None:
            valid = ((given >= 0) & (given < self._counts) & (given == x)).all()
        else:
            valid = x.dtype.kind != "f" or np.isfinite(x).all()
        return x if valid else None


class PastActions:
    """The last actions, newest first, as numbers: what a controller for a delayed system remembers."""

    def __init__(self, manifest: dict[str, Any]):
        self._count = manifest["delay"]["past_actions"]
        self._choices = manifest["action"].get("choices")
        change = manifest["delay"].get("largest_change")
        self._change = None if change is None else np.asarray(change, np.float32)
        self._rest = np.asarray(manifest["delay"]["initial_action"], np.dtype(manifest["action"]["dtype"]))
        self.reset()

    def reset(self) -> None:
        """What was applied before the episode."""
        self.actions = np.tile(self._numbers(self._rest), self._count)

    def sent(self, u: Any) -> Any:
        """The nearest action that differs from the last one by no more than the system allows."""
        if self._change is None:
            return u
        last = self.actions[: self._change.size]
        return np.clip(u, last - self._change, last + self._change)

    def append(self, u: Any) -> None:
        """One more action; the oldest is forgotten."""
        new = self._numbers(u)
        self.actions = np.concatenate([new, self.actions[: -len(new)]])

    def _numbers(self, u: Any) -> Any:
        if self._choices is None:
            return np.asarray(u, np.float32)
        return (np.arange(self._choices) == int(u)).astype(np.float32)


class _Policy:
    """What the forms without memory of their own have in common: the first observation, and past actions."""

    uses_key = False

    def __init__(self, past: PastActions | None):
        self._past, self._first = past, None

    def start(self, x: Any, key: Any) -> None:
        del key
        self._first = self._whole(x)

    def resume(self, first: Any, memory: Any) -> None:
        del memory  # they have none
        self._first = first

    def acted(self, actions: Any) -> None:
        del actions  # they are read when they are needed

    def _whole(self, x: Any) -> Any:
        return x if self._past is None else np.concatenate([x, self._past.actions])


class NumPyForm(_Policy):
    """A policy as a list of operations on arrays."""

    def __init__(self, files: Files, past: PastActions | None):
        super().__init__(past)
        about, action = files.manifest["forms"]["numpy"], files.manifest["action"]
        unlimited = {"low": -np.inf, "high": np.inf}
        self._limits = [
            np.asarray([none if v is None else v for v in action[k]], action["dtype"])
            for k, none in unlimited.items()
            if k in action
        ]
        arrays = files.arrays(about["file"])
        self._operations = [
            (_OPERATIONS[one["name"]], {**one, **{k: arrays[v] for k, v in one.get("arrays", {}).items()}})
            for one in about["operations"]
        ]

    def step(self, x: Any, t: Any, key: Any) -> tuple[Any, bool, None]:
        del key
        value = self._whole(x)
        with np.errstate(all="ignore"):
            for operation, parameters in self._operations:
                parameters["t"], parameters["first"] = int(t), self._first
                value = operation(value, parameters)
        finite = bool(np.isfinite(value).all())
        if self._limits:
            low, high = self._limits
            value = np.minimum(np.maximum(value, low), high)  # half the time of `clip`
        return value, finite, None


class ONNXForm(_Policy):
    """A policy as an ONNX graph, run by ONNX Runtime with one thread."""

    def __init__(self, files: Files, past: PastActions | None):
        import onnxruntime

        super().__init__(past)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        content = files.read(files.manifest["forms"]["onnx"]["file"])
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._inputs = [one.name for one in self._session.get_inputs()]

    def step(self, x: Any, t: Any, key: Any) -> tuple[Any, bool, None]:
        del key
        step = np.asarray(t, np.int64)
        given = {"observation": self._whole(x), "step": step, "first_observation": self._first}
        u, valid = self._session.run(None, {name: given[name] for name in self._inputs})
        return u, bool(valid), None


class StableHLOForm:
    """Two compiled functions, of which the first makes the memory that the second takes and returns."""

    uses_key = True

    def __init__(self, files: Files, past: PastActions | None):
        import jax
        import jax.export

        del past  # part of the memory
        about = files.manifest["forms"]["stablehlo"]
        parts = [bytearray(files.read(about[part]["file"])) for part in ("start", "step")]
        start, step = map(jax.export.deserialize, parts)
        self._start_program, self._step_program = jax.jit(start.call), jax.jit(step.call)
        known = {"gpu": {"cuda", "rocm"}}.get(jax.default_backend(), {jax.default_backend()})
        device = None if known & set(about["platforms"]) else jax.devices(about["platforms"][0])[0]
        self._on_device = lambda: jax.default_device(device)
        self.memory: tuple[Any, ...] = ()

    def start(self, x: Any, key: Any) -> None:
        with self._on_device():
            self.memory = tuple(self._start_program(x, key))

    def resume(self, first: Any, memory: Any) -> None:
        del first  # what is needed of it is in the memory
        self.memory = tuple(memory)

    def step(self, x: Any, t: Any, key: Any) -> tuple[Any, bool, Any]:
        with self._on_device():
            u, valid, planned, self.memory = self._step_program(x, t, key, self.memory)
        planned = np.asarray(planned)
        return np.asarray(u), bool(valid), planned if len(planned) else None

    def acted(self, actions: Any) -> None:
        """The first array of the memory holds the past actions; it stays what it was if no step was computed."""
        if self.memory:
            self.memory = (actions, *self.memory[1:])


_FORMS: dict[str, Any] = {"numpy": NumPyForm, "onnx": ONNXForm, "stablehlo": StableHLOForm}


# The operations of the NumPy form: f(value, parameters) -> value; the step and the first observation are among these.


def _features(x: Any, p: Any) -> Any:
    angles = x[p["angles"]]
    return np.concatenate([x[p["plain"]], np.sin(angles), np.cos(angles)])


def _one_hot(x: Any, p: Any) -> Any:
    entries = zip(np.ravel(x), p["counts"], strict=True)
    return np.concatenate([np.arange(count) == entry for entry, count in entries]).astype(np.float32)


def _rbf(x: Any, p: Any) -> Any:
    """In float64: large weights nearly cancel.  The weights are the sums of two arrays of float32."""
    weights = p["weights"].astype(np.float64) + p["weights_rest"]
    scaled = (x[None, None].astype(np.float64) - p["centers"][None]) / p["lengthscale"][:, None]
    return np.sum(weights * np.exp(-0.5 * np.sum(scaled**2, axis=-1)), axis=-1).astype(x.dtype)


def _time_varying(x: Any, p: Any) -> Any:
    starts = (p["starts"] - p["first"][None]) / p["scale"][None]
    nearest = np.argmin(np.sum(starts**2, axis=-1))
    step = min(p["t"], p["F"].shape[1] - 1)
    return p["F"][nearest, step] @ x + p["f"][nearest, step]


def _convolution(x: Any, p: Any) -> Any:
    kernel, stride = p["kernel"], p["stride"]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))[::stride, ::stride]
    return np.maximum(np.einsum("ijchw,hwco->ijo", windows, kernel, optimize=True) + p["bias"], 0)


_OPERATIONS: dict[str, Any] = {
    "features": _features,
    "one_hot": _one_hot,
    "standardize": lambda x, p: (x - p["mean"]) / p["std"],
    "clip": lambda x, p: np.clip(x, p["low"], p["high"]),
    "scale": lambda x, p: x * p["factor"] + p["offset"],
    "dense": lambda x, p: x @ p["weight"] + p["bias"],
    "tanh": lambda x, _: np.tanh(x),
    "relu": lambda x, _: np.maximum(x, 0),
    "silu": lambda x, _: 0.5 * x * (1 + np.tanh(0.5 * x)),
    "rbf": _rbf,
    "sine_squash": lambda x, _: (9 * np.sin(x) + np.sin(3 * x)) / 8,
    "time_varying": _time_varying,
    "image": lambda x, p: np.transpose(np.reshape(x, p["shape"]), p["axes"]).astype(np.float32) / p["divisor"],
    "convolution": _convolution,
    "flatten": lambda x, _: np.ravel(x),
    "table": lambda x, p: p["values"][int(np.sum(np.ravel(x).astype(np.int64) * p["strides"]))],
    "argmax": lambda x, _: np.argmax(x),
}


def measure(directory: Any, form: str, calls: int) -> list[float]:
    """The time of each of `calls` steps, in s, after 10 steps that are not counted."""
    controller = load(directory, form)
    observations = Files(directory).arrays("examples.npz")["observation"]
    times = []
    for i in range(10 + calls):
        if i % 1000 == 10:
            controller.reset()
        start = time.perf_counter()
        controller.act(observations[i % len(observations)])
        times.append(time.perf_counter() - start)
    return times[10:]


def check(directory: Any, form: str) -> float:
    """The largest difference from the recorded actions, relative to the range of the actions."""
    controller, examples = load(directory, form), Files(directory).arrays("examples.npz")
    action, largest = controller.manifest["action"], 0.0
    for x, t, key, expected in zip(*(examples[k] for k in ("observation", "step", "key", "action")), strict=True):
        controller.reset()
        difference = np.abs(controller.act(x, int(t), key).astype(float) - expected)
        largest = max(largest, float(np.max(difference / np.asarray(action["range"]))))
    return largest


def main() -> None:
    """The command line; prints one JSON object."""
    parser = argparse.ArgumentParser(description="Latency of an exported controller, and its actions on examples.")
    parser.add_argument("directory")
    parser.add_argument("--form", choices=list(_FORMS))
    parser.add_argument("--calls", type=int, default=1000, help="steps to measure (default: 1000)")
    parser.add_argument("--check", action="store_true", help="compare actions with the recorded examples")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # before NumPy and JAX start their threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    forms = [given.form] if given.form else list(Files(given.directory).manifest["forms"])
    found: dict[str, Any] = {}
    for form in forms:
        found[form] = {"seconds": measure(given.directory, form, given.calls)}
        if given.check:
            found[form]["largest_difference"] = check(given.directory, form)
    if sys.stdout.isatty():
        found = {form: {**one, "seconds": max(one["seconds"])} for form, one in found.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
