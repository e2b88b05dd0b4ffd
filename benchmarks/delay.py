"""Action delay on the pendulum: return with and without the past actions in the state.  Data of docs/deploy.md.

    python benchmarks/delay.py                            # seeds 40 - 44; continues where it stopped
    python benchmarks/delay.py --delays 3 --seeds 40
    python benchmarks/delay.py --quick                    # tiny sizes, nothing saved: does everything run?

An action acts 0, 1, 3 or 5 steps (of 0.05 s) after it is chosen.  `with`: the state includes the actions on their way,
as with `--action-delay`.  `without`: the learner sees the state of the system alone and knows nothing of the delay.
Return: the mean over 10 new episodes after the training.  Results go to benchmarks/results/delay.json.
Settings are tuned on seeds 100 - 119 only, and reported on seeds 40 - 44.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
from common import ROOT
from page import DOCS, interval_text, put_table
from rows import REPORTING_SEEDS, Rows, fill, reporting

sys.path.insert(0, str(ROOT))

ENV = "forethought/PendulumSwingUp-v0"
DELAYS = (0, 1, 3, 5)  # steps
ALGORITHMS = {  # name: what is trained, and its real steps; learned dynamics, and a model-free learner
    "pets": 1000,
    "sac": 20_000,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--delays", type=int, nargs="+", default=list(DELAYS), help="steps (default: 0 1 3 5)")
    parser.add_argument("--algorithms", nargs="+", choices=list(ALGORITHMS), default=["pets"])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="only write the table of the page")
    flags = parser.parse_args()
    if not flags.draw:
        fill("delay", "delay", rows(flags), quick=flags.quick)
    if not flags.quick:
        put_table(DOCS / "deploy.md", "delay", table())


def rows(flags: argparse.Namespace) -> Rows:
    for seed in flags.seeds:
        for algorithm in flags.algorithms:
            for delay in flags.delays:
                for past in (True, False) if delay else (True,):
                    about = {"algorithm": algorithm, "delay": delay, "past_actions": past, "seed": seed}
                    yield about, partial(measured, **about, quick=flags.quick)


def measured(algorithm: str, delay: int, past_actions: bool, seed: int, quick: bool) -> dict[str, Any]:
    """Train and evaluate."""
    import forethought as ft

    env = ft.open_env(ENV, action_delay=delay)
    if not past_actions:
        env = HiddenPast(env, ft.open_env(ENV))
    name = f"{algorithm}-delay{delay}-{'with' if past_actions else 'without'}-seed{seed}"
    folder = Path(tempfile.mkdtemp()) if quick else ROOT / "runs" / "delay"
    budget = {"iterations": 1} if quick else {"env_steps": ALGORITHMS[algorithm]}
    run = ft.train(settings(algorithm, quick), env, seed=seed, out=folder / name, resume=True, progress=False, **budget)
    found = run.evaluate(episodes=1 if quick else 10)
    curve = [{k: line[k] for k in ("env_steps", "return")} for line in run.metrics]
    return {
        "return": found.mean,
        "std": found.std,
        "success": found.success,
        "env_steps": found.env_steps,
        "curve": curve,
    }


def settings(algorithm: str, quick: bool) -> Any:
    import forethought as ft

    if algorithm == "sac":
        return ft.SAC()
    if quick:
        model = ft.Ensemble(hidden=(8,), max_epochs=3)
        return ft.PETS(model=model, planner=ft.ICEM(horizon=3, population=10, elites=2, iterations=1, particles=5))
    return ft.PETS(model=ft.Ensemble(hidden=(64, 64)), planner=ft.ICEM(particles=5))


class HiddenPast:
    """A delayed environment whose observations are those of the system alone, as those of `plain`."""

    def __init__(self, env: Any, plain: Any):
        self._delayed = env
        self.name, self.task, self.space = plain.name, plain.task, plain.space
        self.learn_reward = self.learn_termination = False

    def run(self, controller: Any, **options: Any) -> Any:
        from forethought.envs.episode import run_episode

        return run_episode(self, controller, **options)

    def start(self, *, options: Mapping[str, Any] | None = None, **more: Any) -> "HiddenPastEpisode":
        return HiddenPastEpisode(self._delayed.start(options=options, **more), self.space.size)


class HiddenPastEpisode:
    """Its controller and its rows see the first `size` numbers of an observation."""

    def __init__(self, episode: Any, size: int):
        self._episode, self._size = episode, size

    @property
    def x(self) -> Any:
        return self._episode.x[: self._size]

    @property
    def over(self) -> bool:
        return self._episode.over

    def advance(self, controller: Any, *, steps: int, on_step: Any = None) -> Any:
        from forethought.core import Transition

        rows = self._episode.advance(Seeing(controller, self._size), steps=steps, on_step=on_step)
        x, x_next = rows.x[:, : self._size], rows.x_next[:, : self._size]
        return Transition(x, rows.u, x_next, rows.reward, rows.terminated, rows.truncated)


class Seeing(eqx.Module):
    """A controller of the first `size` numbers of an observation."""

    inner: Any
    size: int = eqx.field(static=True)

    def init(self, x0, *, key):
        return self.inner.init(x0[: self.size], key=key)

    def act(self, x, t, carry, *, key):
        return self.inner.act(x[: self.size], t, carry, key=key)


def table() -> list[tuple[str, ...]]:
    """Mean return over seeds with its interval, and the share of solved episodes, by delay."""
    found = reporting("delay")
    titles = ("algorithm", "delay, steps", "with past actions", "solved", "without", "solved")
    body = []
    for algorithm in ALGORITHMS:
        for delay in DELAYS:
            of = [row for row in found if row["algorithm"] == algorithm and row["delay"] == delay]
            if of:
                outcomes = (_outcome([row for row in of if row["past_actions"] is past]) for past in (True, False))
                body.append((algorithm, str(delay), *(text for outcome in outcomes for text in outcome)))
    return [titles, *body]


def _outcome(rows: list[dict[str, Any]]) -> tuple[str, str]:
    if not rows:
        return "-", "-"
    return interval_text([row["return"] for row in rows]), f"{sum(row['success'] for row in rows) / len(rows):.0%}"


if __name__ == "__main__":
    main()
