"""Dyna: the textbook's figures, and real episodes that planning saves.  Data of docs/dyna.md.

    python benchmarks/dyna.py                # every part; continues where it stopped, then draws the page
    python benchmarks/dyna.py maze changing  # some parts
    python benchmarks/dyna.py --quick        # tiny sizes, nothing saved: does everything run?

Parts:
    maze       Dyna maze: steps of each episode, and episodes until the greedy path is near-optimal, by planning steps
    changing   blocking and shortcut maze: cumulative reward of Dyna-Q and Dyna-Q+
    sweeping   Dyna maze, each cell divided into k x k: updates of Q until near-optimal, prioritized sweeping and Dyna-Q
    episodes   Taxi-v4 and FrozenLake-v1: real episodes until the greedy policy is good, against Q-learning
A whole experiment is one compiled function on the transition table of the environment.  Settings are those of Sutton &
Barto (2018), chapter 8; those of the part episodes are not tuned.  Every row is of seed 40, which is split into one key
for each run.  Results go to benchmarks/results/dyna_PART.json.
"""

import argparse
import sys
from typing import Any

from common import ROOT
from rows import Rows, fill

sys.path.insert(0, str(ROOT))

SEED = 40
PLANNING = (0, 5, 50)  # planning steps in the Dyna maze
EPISODES = 50  # of each run in the Dyna maze
NEAR = 1.2  # a greedy path at most this much longer than the shortest one is near-optimal
SHORTEST = 14  # steps in the Dyna maze
CHANGING = {  # maze: planning steps, kappa, steps
    "BlockingMaze-v0": (10, 1e-4, 3000),
    "ShortcutMaze-v0": (50, 1e-3, 6000),
}
EVERY = 25  # steps between points of the curves
SCALES = (1, 2, 3, 4, 5)
TASKS = {  # environment: discount, step size, expected return that counts as good, most episodes
    "FrozenLake-v1": (0.99, 0.1, 0.7, 5000),
    "Taxi-v4": (0.95, 1.0, 7.0, 3000),
}
LEARNERS = {  # name: class, planning steps, outcomes
    "Q-learning": ("DynaQ", 0, 1),
    "Dyna-Q, n = 5": ("DynaQ", 5, 1),
    "Dyna-Q, n = 5, 100 outcomes": ("DynaQ", 5, 100),
    "prioritized sweeping, n = 5": ("PrioritizedSweeping", 5, 1),
    "prioritized sweeping, n = 5, 100 outcomes": ("PrioritizedSweeping", 5, 100),
}
NO_TIME_LIMIT = 10**9  # steps; the textbook's episodes have none


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--runs", type=int, default=30, help="independent runs of each row")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="run nothing: write tables and figures from saved results")
    flags = parser.parse_args()
    for part in (flags.parts or PARTS) if not flags.draw else ():
        fill(part, f"dyna_{part}", PARTS[part](flags), quick=flags.quick)
    if not flags.quick:
        from dyna_page import write_page

        write_page()


def maze(flags: argparse.Namespace) -> Rows:
    """Episodes until near-optimal by planning steps."""
    for n in PLANNING:
        yield {"planning_steps": n, "seed": SEED, "runs": flags.runs}, lambda n=n: learned_maze(n, flags)


def learned_maze(n: int, flags: argparse.Namespace) -> dict[str, Any]:
    """Steps of each episode (mean over runs), and the first episode after which the greedy path is near-optimal."""
    from forethought import DynaQ
    from forethought.algorithms.tabular_experiment import greedy_steps

    mdp, most = table("forethought/DynaMaze-v0"), int(NEAR * SHORTEST)
    told = episodes_of(
        DynaQ(planning_steps=n), mdp, 3 if flags.quick else EPISODES, lambda q: -greedy_steps(q, mdp, most), flags
    )
    return {"curve": told.length.mean(0).round(2).tolist(), "episodes": first_reached(told.score, -most)}


def changing(flags: argparse.Namespace) -> Rows:
    """Cumulative reward in mazes that change."""
    for name in CHANGING:
        for learner in ("Dyna-Q", "Dyna-Q+"):
            about = {"maze": name, "learner": learner, "seed": SEED, "runs": flags.runs}
            yield about, lambda name=name, learner=learner: changed_maze(name, learner, flags)


def changed_maze(name: str, learner: str, flags: argparse.Namespace) -> dict[str, Any]:
    """Cumulative reward by steps (mean over runs), and at the change and at the end of each run."""
    import jax
    import jax.random as jr
    import numpy as np

    from forethought import DynaQ, DynaQPlus
    from forethought.algorithms.tabular_experiment import run_steps
    from forethought.envs.grids.mazes import MAZES

    n, kappa, steps = CHANGING[name]
    plain = DynaQ(planning_steps=n, step_size=1.0)
    algorithm = plain if learner == "Dyna-Q" else DynaQPlus(planning_steps=n, step_size=1.0, kappa=kappa)
    mdp, steps = table(f"forethought/{name}"), 50 if flags.quick else steps
    run = jax.jit(jax.vmap(lambda key: run_steps(algorithm, mdp, steps, key=key)[1].reward))
    total = np.cumsum(np.asarray(run(jr.split(jr.key(SEED), flags.runs))), axis=1)
    change = min(MAZES[name].change_after or 0, steps) - 1
    return {
        "curve": total.mean(0)[EVERY - 1 :: EVERY].round(3).tolist(),
        "at_change": total[:, change].tolist(),
        "final": total[:, -1].tolist(),
    }


def sweeping(flags: argparse.Namespace) -> Rows:
    """Updates until near-optimal as the maze grows."""
    for scale in SCALES[:1] if flags.quick else SCALES:
        for learner in ("Dyna-Q", "prioritized sweeping"):
            about = {"scale": scale, "learner": learner, "seed": SEED, "runs": flags.runs}
            yield about, lambda scale=scale, learner=learner: swept_maze(scale, learner, flags)


def swept_maze(scale: int, learner: str, flags: argparse.Namespace) -> dict[str, Any]:
    """Updates of Q, real steps and episodes of each run; None where 500 episodes were not enough."""
    from forethought import DynaQ, PrioritizedSweeping
    from forethought.algorithms.tabular_experiment import greedy_steps

    kind = DynaQ if learner == "Dyna-Q" else PrioritizedSweeping
    mdp, most = table("forethought/DynaMaze-v0", scale=scale), int(NEAR * SHORTEST * scale)
    algorithm = kind(planning_steps=5, step_size=0.5)
    told = episodes_of(algorithm, mdp, 500, lambda q: -greedy_steps(q, mdp, most), flags, enough=-most)
    episodes = first_reached(told.score, -most)
    return {
        "updates": [one if done else None for one, done in zip(told.updates.max(1).tolist(), episodes, strict=True)],
        "real_steps": told.length.sum(1).tolist(),
        "episodes": episodes,
    }


def episodes(flags: argparse.Namespace) -> Rows:
    """Real episodes until the greedy policy is good."""
    for task in TASKS:
        for learner, (_, _, outcomes) in LEARNERS.items():
            if task == "Taxi-v4" and outcomes > 1:  # deterministic: all outcomes of a pair are equal
                continue
            about = {"task": task, "learner": learner, "seed": SEED, "runs": flags.runs}
            yield about, lambda task=task, name=learner: good_after(task, name, flags)


def good_after(task: str, learner: str, flags: argparse.Namespace) -> dict[str, Any]:
    """The first episode of each run after which the greedy policy is good; None where it never was."""
    import forethought
    from forethought.algorithms.tabular_experiment import greedy_return

    discount, step_size, good, most = TASKS[task]
    kind, n, outcomes = LEARNERS[learner]
    algorithm = getattr(forethought, kind)(planning_steps=n, step_size=step_size, discount=discount, outcomes=outcomes)
    mdp, count = table(task, horizon=None), 3 if flags.quick else most
    told = episodes_of(algorithm, mdp, count, lambda q: greedy_return(q, mdp), flags, enough=good)
    return {"episodes": first_reached(told.score, good), "real_steps": told.length.sum(1).tolist()}


def table(env: str, horizon: int | None = NO_TIME_LIMIT, **options: Any) -> Any:
    """The transition table of a Gymnasium environment; `horizon` None: its own time limit."""
    import gymnasium

    import forethought  # noqa: F401 - registers the mazes
    from forethought.envs.grids.tabular_mdp import TabularMDP

    made = gymnasium.make(env, **options)
    assert made.spec is not None
    return TabularMDP.of(made, horizon=horizon or made.spec.max_episode_steps or NO_TIME_LIMIT)


def episodes_of(
    algorithm: Any,
    mdp: Any,
    count: int,
    score: Any,
    flags: argparse.Namespace,
    enough: float = float("inf"),
) -> Any:
    """`run_episodes` for each run, one after the other: their episodes have different lengths."""
    import jax
    import jax.random as jr
    import numpy as np

    from forethought.algorithms.tabular_experiment import run_episodes

    one = lambda key: run_episodes(algorithm, mdp, count, score, enough=enough, key=key)[1]  # noqa: E731
    return jax.tree.map(np.asarray, jax.jit(lambda keys: jax.lax.map(one, keys))(jr.split(jr.key(SEED), flags.runs)))


def first_reached(scores: Any, enough: float) -> list[int | None]:
    """The first episode, from 1, whose score is at least `enough`, for each run; episodes that were not run have 0."""
    reached = (scores >= enough) & (scores != 0)
    return [int(row.argmax()) + 1 if row.any() else None for row in reached]


PARTS = {"maze": maze, "changing": changing, "sweeping": sweeping, "episodes": episodes}

if __name__ == "__main__":
    main()
