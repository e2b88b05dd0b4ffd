"""Videos of episodes."""

import math
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax.random as jr
import numpy as np

from forethought.core import Controller, ForethoughtError, Transition, UsageError
from forethought.envs.env import Env
from forethought.runs.files import storage_errors, temporary_file

if TYPE_CHECKING:
    from forethought.runs.run import Run

EPISODE = 0xFFFFFFFC  # folded into the seed; rounds count up from 0, so that this key is none of theirs
SLOWEST, FASTEST = 24, 60  # frames per second that players handle well


def record_video(run: "Run | str | Path", *, out: str | Path | None = None, seed: int = 0) -> Path:
    """Run one episode of the run's controller and write it as an MP4 file that plays in real time.

    Args:
        run: a run, or its directory.
        out: the file; by default `run.mp4` in the run directory.
        seed: seeds the episode.
    Raises:
        ForethoughtError: the environment cannot be rendered on this machine; the message says why.
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
    return write_mp4(_frames(run.env, run.controller, seed), target, dt=float(run.env.task.dt))


def video_bytes(env: Env, controller: Controller, episode: Transition, *, seed: int) -> bytes:
    """The content of an MP4 file of `episode` if the environment can draw recorded states, else of a new episode."""
    frames = env.pictures(episode) if hasattr(env, "pictures") else _frames(env, controller, seed)
    with tempfile.TemporaryDirectory() as folder:
        return write_mp4(frames, Path(folder) / "run.mp4", dt=float(env.task.dt)).read_bytes()


def write_mp4(frames: Sequence[np.ndarray], target: Path, *, dt: float) -> Path:
    """Write RGB pictures [height, width, 3] uint8, `dt` s apart, as H.264 that every browser plays.

    The file appears only when it is complete.  Frames are repeated or left out, for a rate that players support.
    """
    if not frames:
        raise ForethoughtError("video: the environment rendered no pictures.")
    repeat, skip, fps = pace(dt)
    shown = (_even(frame).tobytes() for frame in frames[::skip] for _ in range(repeat))
    height, width, _ = _even(frames[0]).shape
    with storage_errors(target), temporary_file(target) as temporary:
        _encode(shown, temporary, width, height, fps)
    return target


def _encode(shown: Iterable[bytes], target: Path, width: int, height: int, fps: float) -> None:
    """Feed raw pictures to ffmpeg.  (Imageio's own writer forks in a way that JAX warns of.)"""
    import imageio_ffmpeg

    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.6f}", "-i", "-"]
    coded = ["-an", "-c:v", "libx264", "-crf", "23", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", *raw, *coded, str(target)]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints) as process,
    ):
        assert process.stdin is not None
        try:
            for content in shown:
                process.stdin.write(content)
            process.stdin.close()
        except BrokenPipeError:  # ffmpeg stopped; it says why
            pass
        except BaseException:
            process.kill()
            raise
        if process.wait() != 0:
            complaints.seek(0)
            reason = complaints.read().decode(errors="replace").strip().splitlines()
            raise ForethoughtError(f"video: ffmpeg could not write {target}: {reason[-1] if reason else 'no reason'}")


def pace(dt: float) -> tuple[int, int, float]:
    """How often to repeat each picture, which n-th to keep, and the frames per second, so that time is real."""
    natural = 1 / dt
    repeat = max(1, math.ceil(SLOWEST / natural - 1e-9))
    skip = max(1, math.ceil(natural / FASTEST - 1e-9))
    return repeat, skip, natural * repeat / skip


def _frames(env: Env, controller: Controller, seed: int) -> list[np.ndarray]:
    """The pictures of a new episode."""
    frames: list[np.ndarray] = []
    try:
        env.run(controller, key=jr.fold_in(jr.key(seed), EPISODE), frames=frames)
    except ForethoughtError:
        raise
    except Exception as problem:  # renderers raise anything: no display, no driver
        raise ForethoughtError(f"{env.name} could not be rendered: {problem}") from problem
    return frames


def _even(frame: np.ndarray) -> np.ndarray:
    """Height and width even, as the color format needs: the last row or column is repeated."""
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
