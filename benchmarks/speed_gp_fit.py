"""Hyper-parameters of Gaussian processes by evidence: ours against tinygp and GPJax, each in fresh processes, in turns.

    python benchmarks/peers/setup_gp.py     # once
    python benchmarks/speed_gp_fit.py

6 inputs, 4 outputs, data drawn from Gaussian processes, standardized; for each output one search by L-BFGS-B from the
same start, in float64.  Seconds are those of the first fit in a process, compilation included, as a run meets it: data
grow from fit to fit.  The log evidences reached say whether all sides did the same work.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from common import BENCHMARKS, ROOT, arguments, describe, hardware, ours, peer, save, seconds, summary, table

INPUTS, OUTPUTS, EVALUATIONS = 6, 4, 150
PYTHON = ROOT / ".venv-gp" / "bin" / "python"
SETUP = BENCHMARKS / "peers" / "setup_gp.py"
PEERS = ("tinygp", "gpjax")


def main() -> None:
    flags = arguments(
        __doc__,
        repeats={"type": int, "default": 3, "help": "turns of each side"},
        rows={"type": int, "nargs": "+", "default": [100, 200, 300], "help": "data"},
        data={"help": "for --measure"},
        peer_python={"type": Path, "default": PYTHON, "help": "the peers' Python"},
    )
    if flags.quick:
        flags.repeats, flags.rows = 1, [30]
    if flags.measure:
        print(json.dumps(measure(Path(flags.data))))
        return
    report = {"hardware": hardware(), "repeats": flags.repeats, "inputs": INPUTS, "outputs": OUTPUTS}
    report["rows"] = {str(n): compare(n, flags.repeats, flags.threads, flags.peer_python) for n in flags.rows}
    show(report)
    if not flags.quick:
        print(f"saved: {save('speed_gp_fit', report)}")


def compare(rows: int, repeats: int, threads: int, python: Path) -> dict:
    """All sides in turns."""
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, **data(rows))
        for _ in range(repeats):
            turn = {"forethought": ours(__file__, "--data", path, "--threads", threads)}
            for name in PEERS:
                words = ("--which", name, "--data", path, "--evaluations", EVALUATIONS)
                turn[name] = peer("peer_gp.py", *words, python=python, setup=SETUP)
            turns.append(turn)
            print(rows, {name: f"{side['fit_s']:.2f} s" for name, side in turn.items()}, flush=True)
    sides = ("forethought", *PEERS)
    return {
        "fit_s": {name: summary([turn[name]["fit_s"] for turn in turns]) for name in sides},
        "times_faster": {
            name: summary([turn[name]["fit_s"] / turn["forethought"]["fit_s"] for turn in turns]) for name in PEERS
        },
        "evaluation_s": {
            name: summary([turn[name]["evaluation_s"] for turn in turns]) for name in ("forethought", "tinygp")
        },
        "evidence": {name: sum(turns[0][name]["evidence"]) for name in sides},
        "turns": turns,
    }


def data(rows: int) -> dict[str, np.ndarray]:
    """Drawn from Gaussian processes, standardized."""
    random = np.random.default_rng(rows)
    z = random.uniform(-2, 2, (rows, INPUTS))
    columns = []
    for _ in range(OUTPUTS):
        scaled = z / random.uniform(1, 6, INPUTS)
        k = np.exp(-0.5 * ((scaled[:, None] - scaled[None]) ** 2).sum(-1)) + 0.02**2 * np.eye(rows)
        columns.append(np.linalg.cholesky(k) @ random.normal(size=rows))
    y = np.stack(columns, axis=1)
    return {"z": (z - z.mean(0)) / z.std(0), "y": (y - y.mean(0)) / y.std(0)}


def measure(path: Path) -> dict:
    """Our side, in this process."""
    import jax.numpy as jnp
    import jax.random as jr

    from forethought.models.gp.evidence import log_evidence
    from forethought.models.gp.process import GP

    given = np.load(path)
    z, y = (jnp.asarray(given[name]) for name in "zy")
    before = time.perf_counter()
    _, report = GP(restarts=1, evaluations=EVALUATIONS).fit(z, y, jnp.asarray(len(z)), key=jr.key(0))
    fit_s = time.perf_counter() - before
    start = np.append(np.zeros(INPUTS + 1), np.log(0.1))
    times = [seconds(log_evidence, start, given["z"], given["y"][:, 0]) for _ in range(10)]
    evidence = [float(value) for value in report.evidence]
    return {"fit_s": fit_s, "evaluation_s": statistics.median(times), "evidence": evidence}


def show(report: dict) -> None:
    """The table."""
    print(describe(report["hardware"]))
    for rows, one in report["rows"].items():
        lines = [[f"fit, {name} [s]", *side.values()] for name, side in one["fit_s"].items()]
        lines += [[f"times faster than {name}", *ratio.values()] for name, ratio in one["times_faster"].items()]
        for name, side in one["evaluation_s"].items():
            lines.append([f"one evaluation, {name} [ms]", *(1e3 * s for s in side.values())])
        print(table([f"{rows} rows", "median", "min", "max"], lines))
        print("log evidence, all outputs:", {name: round(value, 3) for name, value in one["evidence"].items()})


if __name__ == "__main__":
    main()
