"""What the benchmarks share: measurements in fresh processes, a line on the hardware, tables, and results as JSON.

Standard library only: each side of a comparison runs in its own process and its own environment.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
ROOT = BENCHMARKS.parent
RESULTS = BENCHMARKS / "results"
PEER_PYTHON = ROOT / ".venv-mbrl" / "bin" / "python"
# What one state of a particle meets: observation and action in, mean and log-variance of the difference out.
LAYERS = (5, 200, 200, 200, 200, 8)
MEMBERS = 5


def arguments(description: str | None, **extra: dict[str, Any]) -> argparse.Namespace:
    """The flags that all benchmarks have, and `extra` ones; limits this process, and all it starts, to `--threads`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(cores()), help="processor cores for each side")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument(
        "--measure", action="store_true", help="measure this library's side only; prints one JSON object"
    )
    for name, options in extra.items():
        parser.add_argument("--" + name.replace("_", "-"), **options)
    parsed = parser.parse_args()
    os.sched_setaffinity(0, set(cores()[: parsed.threads]))
    parsed.threads = len(cores())
    return parsed


def cores() -> list[int]:
    """The processor cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def ours(script: str, *flags: Any) -> dict[str, Any]:
    """This library's side, in a fresh process of this Python."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return _fresh([sys.executable, script, "--measure", *flags], {"PYTHONPATH": os.pathsep.join(paths)})


def peer(
    script: str, *flags: Any, python: Path = PEER_PYTHON, setup: Path = BENCHMARKS / "peers" / "setup_mbrl.py"
) -> dict[str, Any]:
    """The peer's side (mbrl by default), in a fresh process of its own environment, which `setup` makes."""
    if not python.exists():
        raise SystemExit(f"The peer is not installed: run `python {setup.relative_to(ROOT)}` first.")
    return _fresh([python, "-W", "ignore", BENCHMARKS / "peers" / script, *flags], {})


def _fresh(command: Sequence[Any], environment: dict[str, str]) -> dict[str, Any]:
    """Run a command that prints a JSON object last; adds `process_s`, from its start to its end."""
    start = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{shlex.join(str(part) for part in command)} failed with exit status {done.returncode}.")
    return json.loads(done.stdout.strip().splitlines()[-1]) | {"process_s": seconds}


def seconds(f, *inputs) -> float:
    """Wall clock of one call."""
    start = time.perf_counter()
    f(*inputs)
    return time.perf_counter() - start


def forward_flops(rows: int, layers: Sequence[int] = LAYERS) -> int:
    """Operations of the matrix products in one forward pass of `rows` rows; activations are not counted."""
    return rows * sum(2 * i * o for i, o in zip(layers[:-1], layers[1:], strict=True))


def gradient_flops(rows: int, layers: Sequence[int] = LAYERS) -> int:
    """The same for a pass forwards and backwards: the first layer needs no gradient of its inputs."""
    return 3 * forward_flops(rows, layers) - rows * 2 * layers[0] * layers[1]


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def hardware() -> dict[str, Any]:
    """The machine and its load."""
    return {
        "cpu": _cpu(),
        "cores_used": len(cores()),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def describe(machine: dict[str, Any]) -> str:
    """The hardware in one line."""
    load = f"load before {machine['load_before']}"
    return f"{machine['cpu']}, {machine['cores_used']} cores used, {machine['memory_gib']} GiB, {load}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def save(name: str, report: dict[str, Any]) -> Path:
    """Write `results/NAME.json`, with the command and the commit."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    head = {"command": shlex.join(["python", str(script), *sys.argv[1:]]), "commit": commit.stdout.strip() or None}
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(head | report, indent=1) + "\n")
    return path


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns, the first one to the left, numbers with three significant digits."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "-" if value is None else str(value)
