"""Film an episode of a trained controller."""

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax.random as jr
import numpy as np

from forethought.core import Controller, ForethoughtError, Transition, UsageError
from forethought.envs.env import Env

if TYPE_CHECKING:
    from forethought.runs.run import Run

EPISODE = 0xFFFFFFFC  # folded into the seed; rounds count up from 0, so that the film's key is none of theirs
SLOWEST, FASTEST = 24, 60  # frames per second that players handle well


def film(run: "Run | str | Path", *, out: str | Path | None = None, seed: int = 0) -> Path:
    """Run one episode of the run's controller and write it as an MP4 file, in real time.

    Args:
        run: a run, or its directory.
        out: the file; by default `run.mp4` in the run directory.
        seed: seeds the episode.
    Raises:
        ForethoughtError: the environment cannot draw itself here; the message says why.
        UsageError: `out` is not an .mp4 file, or its directory does not exist.
    """
    if isinstance(run, str | Path):
        from forethought.runs.run import load

        run = load(run)
    target = Path(out) if out is not None else run.path / "run.mp4"
    if target.suffix != ".mp4":
        raise UsageError(f"video: '{target}' should end in .mp4.")
    if not target.parent.is_dir():
        raise UsageError(f"video: there is no directory '{target.parent}'.")
    frames: list[np.ndarray] = []
    run.env.run(run.controller, key=jr.fold_in(jr.key(seed), EPISODE), frames=frames)
    return write_mp4(frames, target, dt=float(run.env.task.dt))


def film_to_bytes(env: Env, controller: Controller, episode: Transition, *, seed: int) -> bytes:
    """An MP4 of `episode` where the environment can draw recorded states, else of a new episode."""
    frames: list[np.ndarray] = []
    if hasattr(env, "pictures"):
        frames = env.pictures(episode)
    else:
        env.run(controller, key=jr.fold_in(jr.key(seed), EPISODE), frames=frames)
    with tempfile.TemporaryDirectory() as folder:
        return write_mp4(frames, Path(folder) / "run.mp4", dt=float(env.task.dt)).read_bytes()


def write_mp4(frames: Sequence[np.ndarray], target: Path, *, dt: float) -> Path:
    """Write RGB pictures [height, width, 3] uint8, `dt` s apart, as H.264 that every browser plays.

    The file appears only when it is complete.  Slow sequences repeat pictures, fast ones leave some out.
    """
    import imageio.v2 as imageio

    if not frames:
        raise ForethoughtError("video: the environment drew no pictures.")
    repeat, skip, fps = pace(dt)
    temporary = target.with_name(f".{target.stem}.part.mp4")
    try:
        with imageio.get_writer(
            temporary,
            format="FFMPEG",
            fps=fps,
            codec="libx264",
            pixelformat="yuv420p",
            macro_block_size=1,
            ffmpeg_log_level="error",
            output_params=["-crf", "23", "-movflags", "+faststart"],
        ) as writer:
            for frame in frames[::skip]:
                for _ in range(repeat):
                    writer.append_data(_even(frame))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def pace(dt: float) -> tuple[int, int, float]:
    """How often to repeat each picture, which n-th to keep, and the frames per second, so that time is real."""
    natural = 1 / dt
    repeat = max(1, math.ceil(SLOWEST / natural - 1e-9))
    skip = max(1, math.ceil(natural / FASTEST - 1e-9))
    return repeat, skip, natural * repeat / skip


def _even(frame: np.ndarray) -> np.ndarray:
    """Height and width even, as the colour format needs: the last row or column is repeated."""
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
