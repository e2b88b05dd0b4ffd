"""Tests run under the strictest switches: shapes checked, no silent promotion of rank.

With two workers (`make test`) each has a core of its own, pinned before JAX starts its threads: two JAX processes that
share cores slow each other down several times.  Workers, and runs one after the other, share what they compile.
XLA optimizes little here; the slow tests, which compute for long, run with its defaults (`make test-slow`).
"""

import gc
import json
import math
import os
from collections import Counter
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _own_core() -> None:
    """Pin a worker of pytest-xdist to one of the cores that this process may use."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw") and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker[2:]) % len(cores)]})


def _compile_quickly() -> None:
    """Optimize compiled programs little: the tests spend most of their time compiling.  XLA_FLAGS has precedence."""
    flags = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"  # each has only one core
    if version("jaxlib").startswith("0.10."):  # XLA aborts at a flag that it does not know
        flags += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("XLA_FLAGS", flags)


def _collect_garbage_seldom() -> None:
    """Programs and their traces are millions of objects, which Python would otherwise visit every few seconds."""
    gc.set_threshold(100_000, 50, 50)


_own_core()
_collect_garbage_seldom()
_compile_quickly()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # small programs take half of the time

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("forethought", "beartype.beartype")

jax.config.update("jax_numpy_rank_promotion", "raise")

MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 25_000  # Linux allows a process 65,530; every compiled program takes some, and XLA aborts beyond
DURATIONS = Path(__file__).with_name("durations.json")  # s of every test that takes over a second


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--within` for the loop of work, `--save-durations` to say anew what takes how long."""
    parser.addoption(
        "--within", type=float, default=math.inf, help="leave out tests that take over so many s (tests/durations.json)"
    )
    parser.addoption("--save-durations", action="store_true", help="write tests/durations.json from this run")


def pytest_configure(config: pytest.Config) -> None:
    """An entry of the cache that another worker is just writing is compiled again, which is no error."""
    config.addinivalue_line("filterwarnings", "ignore:Error reading persistent compilation cache entry")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is known to take long; workers begin with the longest files, so that none ends with one."""
    known = _known_durations()
    long = {item for item in items if known.get(item.nodeid, 0) > config.getoption("--within")}
    config.hook.pytest_deselected(items=list(long))
    items[:] = [item for item in items if item not in long]
    if "PYTEST_XDIST_WORKER" in os.environ:
        spent: Counter[str] = Counter()
        for name, seconds in known.items():
            spent[_file_of(name)] += seconds
        items.sort(key=lambda item: -spent[_file_of(item.nodeid)])


def _known_durations() -> dict[str, float]:
    return json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the durations of the files that were run; those of others stay."""
    if not config.getoption("--save-durations"):
        return
    spent: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                spent[report.nodeid] = spent.get(report.nodeid, 0.0) + report.duration
    ran = set(map(_file_of, spent))
    known = {name: seconds for name, seconds in _known_durations().items() if _file_of(name) not in ran}
    known |= {name: round(seconds, 1) for name, seconds in spent.items() if seconds > 1}
    DURATIONS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs():
    """Forget what earlier modules compiled before there is no room left."""
    if MAPPINGS.exists() and len(MAPPINGS.read_bytes().splitlines()) > MOST_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(params=[jnp.float32, jnp.float64], ids=["float32", "float64"])
def dtype(request):
    """Run the test in both precisions."""
    with jax.enable_x64(request.param == jnp.float64):
        yield request.param
