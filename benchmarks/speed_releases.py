"""This checkout against an earlier one of Forethought: is anything slower?  One core, in turns, fresh processes.

    git worktree add ../earlier COMMIT
    python benchmarks/speed_releases.py --earlier ../earlier

Each case is the part of another benchmark that measures this library alone (`--measure`), run from both checkouts, one
after the other.  A ratio above 1 says that this checkout takes less time than the earlier one.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import ROOT, arguments, describe, hardware, save, summary, table

Read = Callable[[dict], float]  # the seconds in a report

CASES: dict[tuple[str, str], dict[str, Read]] = {  # what is run in both checkouts, and the times that it reports
    ("speed_planning.py", "--acts 7"): {"planning: one PETS action": lambda r: r["act_s"]},
    ("speed_ensemble.py", "--epochs 20"): {
        f"ensemble: one epoch, batch {batch}": lambda r, batch=str(batch): r["epochs"][batch]["epoch_s"]
        for batch in (256, 32)
    },
    ("speed_pilco.py", "--data {data}"): {"PILCO: cost and gradient, 100 rows": lambda r: r["median_s"]},
    ("speed_trajopt.py", "--repeats 50"): {
        "iLQR: one iteration, unicycle": lambda r: median_s(r["iteration_ms"]),
        "iLQR: one iteration, arm": lambda r: median_s(r["arm"]["iteration_ms"]),
    },
    ("speed_mppi.py", "--acts 100 --population 1000"): {"MPPI: one action, 1,000 samples": lambda r: r["act_s"]},
}


def main() -> None:
    flags = arguments(
        __doc__,
        earlier={"type": Path, "required": True, "help": "the earlier checkout"},
        turns={"type": int, "default": 3, "help": "turns of each checkout"},
        only={"nargs": "+", "help": "only scripts whose name contains one of these words"},
    )
    report = {"hardware": hardware(), "turns": flags.turns, "cases": {}}
    print(describe(report["hardware"]))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        write_data(data)
        for (script, words), reads in CASES.items():
            if flags.only and not any(word in script for word in flags.only):
                continue
            sides = flags.earlier.resolve(), ROOT
            turns = [[measured(side, script, words.format(data=data)) for side in sides] for _ in range(flags.turns)]
            for name, read in reads.items():
                pairs = [(read(old), read(new)) for old, new in turns]
                report["cases"][name] = {
                    "earlier_s": summary([old for old, _ in pairs]),
                    "now_s": summary([new for _, new in pairs]),
                    "times_faster": summary([old / new for old, new in pairs]),
                }
                print(name, report["cases"][name]["times_faster"], flush=True)
    show(report)
    if not flags.quick and not flags.only:
        print(f"saved: {save('speed_releases', report)}")


def write_data(path: Path) -> None:
    """The data of PILCO's case, under the names of both releases."""
    import speed_pilco

    data = speed_pilco.data(100)
    np.savez(path, **data, centres=data["centers"])


def measured(checkout: Path, script: str, words: str) -> dict:
    """A report, of a fresh process that imports the library from `checkout`, without a compilation cache."""
    command = [sys.executable, str(checkout / "benchmarks" / script), "--measure", "--threads", "1", *words.split()]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment["PYTHONPATH"] = str(checkout)
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[1]} failed with exit status {done.returncode}: {done.stderr[-1000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def median_s(milliseconds: list[float]) -> float:
    """The median, in seconds."""
    return statistics.median(milliseconds) / 1000


def show(report: dict) -> None:
    """The table."""
    rows = [
        [
            name,
            one["earlier_s"]["median"],
            one["now_s"]["median"],
            *(one["times_faster"][k] for k in ("median", "min", "max")),
        ]
        for name, one in report["cases"].items()
    ]
    print(table(["case", "earlier (s)", "now (s)", "times faster", "least", "most"], rows))


if __name__ == "__main__":
    main()
