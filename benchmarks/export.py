"""Exports of several kinds of controllers: difference from the original, and latency of each form on one core.

    python benchmarks/export.py                      # trains each controller briefly, exports it, measures; minutes
    python benchmarks/export.py --kinds rbf table
    python benchmarks/export.py --quick              # tiny sizes, nothing saved: does everything run?

Each controller is trained with a short budget: its size, not its quality, decides the latency.  Runs are kept in
runs/export.  Results go to benchmarks/results/export.json and to the tables of docs/deploy.md.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from common import RESULTS, ROOT, hardware
from page import DOCS, put_table

sys.path.insert(0, str(ROOT))

PENDULUM = "forethought/PendulumSwingUp-v0"
KINDS = {  # name: what it is, and the training
    "rbf": ("RBF policy (PILCO)", f"pilco {PENDULUM} --iterations 2 --search.evaluations 5"),
    "gaussian": ("network 64 x 64 (PPO)", f"ppo {PENDULUM} --iterations 1"),
    "squashed": ("network 256 x 256 (SAC)", f"sac {PENDULUM} --iterations 1"),
    "network": ("network through the model (backprop)", f"backprop {PENDULUM} --iterations 2 --search.updates 20"),
    "discrete": ("network of 2 choices (PPO)", "ppo CartPole-v1 --iterations 1"),
    "table": ("table of 54 states (Dyna-Q)", "dyna-q forethought/DynaMaze-v0 --iterations 3"),
    "linear": (
        "time-varying linear (local models)",
        "local-models forethought/PointMassObstacle-v0 --conditions.count 1 --iterations 1",
    ),
    "mpc": (
        "MPC, iCEM, ensemble 5 x 64 x 64 (PETS)",
        f"pets {PENDULUM} --iterations 2 --planner icem --planner.particles 5 --model.hidden 64 64",
    ),
    "pets": ("MPC, CEM, ensemble 5 x 200 x 200 x 200 (PETS)", f"pets {PENDULUM} --iterations 2"),
    "whole": ("whole plan with feedback (iterative iLQR)", f"iterative {PENDULUM} --iterations 2 --model.hidden 64 64"),
}
QUICK = {
    "pets": "--planner.horizon 3 --planner.population 10 --planner.elites 2 --planner.iterations 1 --model.hidden 8",
}
TITLES = ("controller", "form", "difference", "p50", "p95", "p99", "longest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--steps", type=int, default=1000, help="steps of each latency (default: 1000)")
    parser.add_argument("--seed", type=int, default=40, help="of the training (default: 40)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="only write the tables of the page")
    flags = parser.parse_args()
    for kind in () if flags.draw else flags.kinds:
        row = measured(kind, flags)
        print(json.dumps(row), flush=True)
        if not flags.quick:
            known = {one["kind"]: one for one in saved()} | {kind: row}
            rows = [known[name] for name in KINDS if name in known]
            command = "python benchmarks/export.py"
            content = {"command": command, "hardware": hardware(), "rows": rows}
            (RESULTS / "export.json").write_text(json.dumps(content, indent=1) + "\n")
    if not flags.quick:
        put_table(DOCS / "deploy.md", "export", [TITLES, *cells()])


def measured(kind: str, flags: argparse.Namespace) -> dict:
    """Train, if there is no run yet, export, and what the export measured."""
    from forethought.cli.main import main as forethought
    from forethought.export.exporting import export_run

    about, training = KINDS[kind]
    words = training.split()
    folder = Path(tempfile.mkdtemp()) if flags.quick else ROOT / "runs" / "export"
    run = folder / f"{kind}-seed{flags.seed}"
    more = QUICK.get(words[0], "").split() if flags.quick else []
    status = forethought(["train", *words, *more, "--seed", str(flags.seed), "--out", str(run), "--resume"])
    if status:
        raise SystemExit(status)
    shutil.rmtree(run / "export", ignore_errors=True)
    made = export_run(run, run / "export", latency_steps=10 if flags.quick else flags.steps)
    forms = {
        form: {"parity": parity._asdict(), "latency_s": vars(latency)} for form, (parity, latency) in made.forms.items()
    }
    sizes = {name: one["bytes"] for name, one in made.manifest["files"].items()}
    return {"kind": kind, "about": about, "training": training, "seed": flags.seed, "forms": forms, "bytes": sizes}


def saved() -> list[dict]:
    path = RESULTS / "export.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []


def cells() -> list[tuple[str, ...]]:
    """Rows of the table; times in ms."""
    return [
        (
            row["about"],
            form,
            f"{one['parity']['largest']:.1e}",
            *(f"{1e3 * one['latency_s'][name]:.3g}" for name in ("p50", "p95", "p99", "longest")),
        )
        for row in saved()
        for form, one in row["forms"].items()
    ]


if __name__ == "__main__":
    main()
