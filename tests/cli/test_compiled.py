"""Where compiled programs are kept: one's own folder, unless told otherwise, and nowhere if there is none."""

import os
import subprocess
import sys

import pytest

from forethought.cli import compiled
from forethought.cli.compiled import keep_compiled


def test_a_folder_of_one_s_own_is_made_for_each_kind_of_processor(tmp_path, monkeypatch):
    places = set()
    for name in ("one", "other"):
        (tmp_path / name).write_text(f"processor : 0\nflags : {name}\ncpu MHz : 1234\n")
        monkeypatch.setattr(compiled, "PROCESSOR", tmp_path / name)
        for clock in ("", "cpu MHz : 999\n"):
            (tmp_path / name).write_text(f"processor : 0\nflags : {name}\n{clock}")
            environ = {"XDG_CACHE_HOME": str(tmp_path / "caches")}
            keep_compiled(environ)
            places.add(environ["JAX_COMPILATION_CACHE_DIR"])
            assert int(environ["JAX_COMPILATION_CACHE_MAX_SIZE"]) == compiled.MOST_BYTES
    assert len(places) == 2
    for place in places:
        assert place.startswith(str(tmp_path / "caches" / "forethought")) and os.stat(place).st_mode & 0o777 == 0o700


def test_what_the_caller_has_set_stays():
    environ = {"JAX_COMPILATION_CACHE_DIR": "elsewhere"}
    keep_compiled(environ)
    assert environ == {"JAX_COMPILATION_CACHE_DIR": "elsewhere"}


@pytest.mark.parametrize("trouble", ["no folder", "open to all"])
def test_without_a_safe_place_nothing_is_kept(tmp_path, trouble):
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    if trouble == "no folder":
        (tmp_path / "forethought").write_text("a file")
    else:
        keep_compiled(environ)
        os.chmod(environ["JAX_COMPILATION_CACHE_DIR"], 0o777)
        environ = {"XDG_CACHE_HOME": str(tmp_path)}
    before = dict(environ)
    keep_compiled(environ)
    assert environ == before


def test_a_second_command_finds_what_the_first_compiled(tmp_path):
    """And an entry that was cut short is compiled again, with the same answer."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
    }
    program = (
        "from forethought.cli.compiled import keep_compiled; keep_compiled()\n"
        "import jax; print(jax.jit(lambda x: jax.numpy.sin(x) @ x)(jax.numpy.arange(3.0)))"
    )

    def run() -> str:
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
        return done.stdout

    first = run()
    (folder,) = (tmp_path / "forethought").iterdir()
    entries = sorted(folder.glob("*-cache"))
    written = [entry.stat().st_mtime_ns for entry in entries]
    assert entries and run() == first
    assert sorted(folder.glob("*-cache")) == entries and [e.stat().st_mtime_ns for e in entries] == written
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:100])
    assert run() == first
