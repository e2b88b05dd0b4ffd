"""Videos: files that players support, in real time, complete or absent."""

import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from forethought.core import ForethoughtError, UsageError
from forethought.report import record_video
from forethought.report.recording import pace, write_mp4
from tests.report.fakes import fake_run


@pytest.mark.parametrize(
    ("dt", "repeat", "skip", "fps"),
    [
        (0.1, 3, 1, 30),
        (0.05, 2, 1, 40),
        (1 / 30, 1, 1, 30),
        (0.002, 1, 9, 500 / 9),
        (0.5, 12, 1, 24),
        (0.008, 1, 3, 125 / 3),
    ],
)
def test_pace_is_real_time_within_what_players_handle(dt, repeat, skip, fps):
    assert pace(dt) == (repeat, skip, pytest.approx(fps))
    assert repeat / pace(dt)[2] / skip == pytest.approx(dt)


def decode(path, height, width):
    """What ffmpeg says of a video, and its frames."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return done.stderr.decode(), np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def test_a_video_has_a_format_that_players_support(tmp_path):
    frames = [np.full((33, 47, 3), 6 * i, np.uint8) for i in range(11)]
    path = write_mp4(frames, tmp_path / "a.mp4", dt=0.1)
    about, shown = decode(path, 34, 48)
    assert re.search(r"Video: h264.*yuv420p.* 48x34.* 30 fps", about)
    assert len(shown) == 33
    assert abs(int(shown[-1].mean()) - 60) < 4 and abs(int(shown[3].mean()) - 6) < 4
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_failure_leaves_the_old_video(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    frames = [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)]
    with pytest.raises(ValueError, match="not enough values"):
        write_mp4(frames, tmp_path / "a.mp4", dt=0.1)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.mp4", b"old")]
    with pytest.raises(ForethoughtError, match="no pictures"):
        write_mp4([], tmp_path / "a.mp4", dt=0.1)


def test_a_video_is_written_into_the_run_directory_and_errors_name_the_cause(tmp_path):
    run = fake_run(tmp_path)
    assert record_video(run, seed=3) == tmp_path / "run.mp4"
    with pytest.raises(UsageError, match=r"should end in \.mp4"):
        record_video(run, out=tmp_path / "run.avi")
    with pytest.raises(UsageError, match="no directory"):
        record_video(run, out=tmp_path / "nowhere" / "run.mp4")
    run.env.drawing_fails = "no display"
    with pytest.raises(ForethoughtError, match="no display"):
        record_video(run)
