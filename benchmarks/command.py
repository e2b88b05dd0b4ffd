"""Our command line, as benchmarks of learning call it: training in a process of its own, and evaluation."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

from common import ROOT


def forethought(*words: str, quiet: bool = False) -> str:
    """Run a command of ours; its standard output where `quiet`."""
    done = subprocess.run(
        [sys.executable, "-m", "forethought", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"forethought {' '.join(words)} failed with exit status {done.returncode}.")
    return done.stdout or ""


def metrics_of(out: Path) -> list[dict]:
    """One object for each round; the wall clock of a run that was continued counts all its parts."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def evaluated(out: Path, episodes: int, *, paid_by: str | None = None, sampled: bool = False) -> dict:
    """The controller on fresh episodes: `forethought evaluate`, or paid by this environment instead of our cost."""
    if paid_by is None:
        words = ["--episodes", str(episodes), "--json", *(["--sampled"] if sampled else [])]
        return json.loads(forethought("evaluate", str(out), *words, quiet=True))
    import jax.random as jr  # only here: most calls leave JAX to another process

    from forethought.envs.open import open_env
    from forethought.runs.run import load

    world, controller = open_env(paid_by), load(out).controller
    done = [world.run(controller, key=jr.fold_in(jr.key(10_000 + i), 0)) for i in range(episodes)]
    returns = [float(episode.reward.sum()) for episode in done]
    return {
        "episodes": episodes,
        "returns": returns,
        "mean": statistics.mean(returns),
        "std": spread_of(returns),
        "success": None,
    }


def spread_of(values: list[float]) -> float | None:
    """Sample standard deviation; None for one value."""
    return statistics.stdev(values) if len(values) > 1 else None
