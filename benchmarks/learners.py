"""Model-free learners over seeds: the curve and the evaluation of each.

    python benchmarks/learners.py pendulum_ppo                     # one experiment, its reporting seeds
    python benchmarks/learners.py cheetah_sac --seeds 40 41 42     # hours: continues where it was stopped
    python benchmarks/learners.py gym_pendulum_ppo --peer          # and Stable-Baselines3 by the same settings
    python benchmarks/learners.py --list

Each seed is one `forethought train`, resumable, in runs/learners/NAME-seedS, and one `forethought evaluate`.  Results
go to benchmarks/results/learners_NAME.json.  With `--peer` Stable-Baselines3's PPO trains on the same seeds with the
same settings, batches, epochs and networks (`benchmarks/peers/setup_sb3.py` installs it).

Settings may be changed after looking at tuning seeds only; figures that are quoted come from reporting seeds.  Results
say which kind each seed is.
"""

import argparse
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from command import evaluated, forethought, spread_of
from common import BENCHMARKS, RESULTS, ROOT, hardware, peer

TUNING_SEEDS = tuple(range(100, 120))  # their results were looked at while settings changed: not to be quoted
REPORTING_SEEDS = tuple(range(40, 45))  # used only with settings that are fixed
PENDULUM, CARTPOLE = "forethought/PendulumSwingUp-v0", "forethought/CartPoleSwingUp-v0"
REACHER = "forethought/ReacherTwoLink-v0"
CURVE = ("env_steps", "episodes", "return", "return_mean", "wall_s", "phase")  # what is kept of each round
PEER_EVALUATION_SEED = 10_000  # of peers/learn_sb3.py
UNTIL = "--learner.learning-rate 3e-3 --until-solved"
FAST = "--learner.learning-rate 1e-3 --learner.epochs 4 --learner.minibatches 8"  # many cheap steps


@dataclass(frozen=True)
class Experiment:
    """One learner on one environment."""

    algorithm: str
    env: str
    steps: int  # of experience
    flags: str = ""
    peer: str | None = None  # flags of peers/learn_sb3.py for the same settings
    own_reward: bool = False  # evaluated by the environment's reward instead of `--cost`


EXPERIMENTS = {
    "pendulum_ppo": Experiment("ppo", PENDULUM, 1_000_000, f"{FAST} --learner.discount 0.98 --until-solved"),
    "pendulum_policy_gradient": Experiment("policy-gradient", PENDULUM, 3_000_000, UNTIL),
    "pendulum_sac": Experiment("sac", PENDULUM, 20_000, "--until-solved"),
    "cartpole_ppo": Experiment("ppo", CARTPOLE, 3_000_000, f"{FAST} --learner.discount 0.98 --until-solved"),
    "cartpole_policy_gradient": Experiment("policy-gradient", CARTPOLE, 3_000_000, UNTIL),
    "cartpole_sac": Experiment("sac", CARTPOLE, 40_000, "--until-solved"),
    "reacher_ppo": Experiment("ppo", REACHER, 1_000_000, f"{FAST} --learner.discount 0.98 --until-solved"),
    "reacher_policy_gradient": Experiment("policy-gradient", REACHER, 3_000_000, UNTIL),
    "reacher_sac": Experiment("sac", REACHER, 20_000, "--until-solved"),
    "gym_cartpole_ppo": Experiment("ppo", "CartPole-v1", 100_000, peer=""),
    "gym_pendulum_ppo": Experiment(
        "ppo",
        "Pendulum-v1",
        100_000,
        "--learner.learning-rate 1e-3 --learner.discount 0.9",
        peer='--settings {"learning_rate":1e-3,"gamma":0.9}',
    ),
    "gym_pendulum_sac": Experiment("sac", "Pendulum-v1", 10_000),
    "cheetah_ppo": Experiment("ppo", "HalfCheetah-v5", 300_000, peer="--normalize"),
    "cheetah_sac": Experiment("sac", "HalfCheetah-v5", 100_000, "--random-steps 10000"),
}


def main(
    experiments: Mapping[str, Experiment] = EXPERIMENTS, kind: str = "learners", about: str | None = __doc__
) -> None:
    """Run the experiments that the command line names; results are `KIND_NAME.json`, runs are in `runs/KIND`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *experiments], metavar="NAME", help="which experiments")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--episodes", type=int, default=10, help="of each evaluation")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / kind, help="where the runs are kept")
    parser.add_argument("--peer", action="store_true", help="train Stable-Baselines3 too, where its settings are known")
    parser.add_argument("--list", action="store_true", help="show the commands, run nothing")
    flags = parser.parse_args()
    for name in flags.names or experiments:
        if flags.list:
            print(f"{name}: forethought {' '.join(command(experiments[name], flags.seeds[0]))}")
        else:
            run(name, experiments[name], flags, kind)


def command(experiment: Experiment, seed: int) -> list[str]:
    """The training command, without the run directory."""
    budget = ["--env-steps", str(experiment.steps), "--seed", str(seed)]
    return ["train", experiment.algorithm, experiment.env, *budget, *experiment.flags.split()]


def run(name: str, experiment: Experiment, flags: argparse.Namespace, kind: str = "learners") -> None:
    """All seeds of one experiment; what is known so far is saved after each."""
    path = RESULTS / f"{kind}_{name}.json"
    known = json.loads(path.read_text())["seeds"] if path.exists() else []
    for seed in flags.seeds:
        out = flags.runs / f"{name}-seed{seed}"
        forethought(*command(experiment, seed), "--out", str(out), "--resume")
        evaluation = evaluated(out, flags.episodes, paid_by=experiment.env if experiment.own_reward else None)
        rounds = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        one = summary(seed, evaluation, rounds)
        if flags.peer and experiment.peer is not None:
            before = next((other for other in known if other["seed"] == seed), {})
            one["same_episodes"] = returns_from_seed(out, experiment.env, flags.episodes)
            one["sb3"] = before.get("sb3") or trained_by_peer(experiment, seed, flags.episodes)
        known = [other for other in known if other["seed"] != seed] + [one]
        report = {
            "command": "forethought " + " ".join(command(experiment, flags.seeds[0])),
            "hardware": hardware(),
            "seeds": sorted(known, key=lambda one: one["seed"]),
        }
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        show(name, report)


def returns_from_seed(out: Path, name: str, episodes: int) -> list[float]:
    """The returns of a run on the episodes that the peer is evaluated on: one seed, and resets after it."""
    import gymnasium as gym

    from forethought.runs.run import load

    run, env, returns = load(out), gym.make(name), []
    for i in range(episodes):
        observation, _ = env.reset(seed=PEER_EVALUATION_SEED if i == 0 else None)
        run.reset()
        rewards, over = [], False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(run.act(observation))
            rewards.append(float(reward))
            over = terminated or truncated
        returns.append(sum(rewards))
    return returns


def trained_by_peer(experiment: Experiment, seed: int, episodes: int) -> dict:
    """What Stable-Baselines3 comes to with the same settings."""
    assert experiment.peer is not None
    budget = ["--steps", experiment.steps, "--seed", seed, "--episodes", episodes]
    places = {"python": ROOT / ".venv-sb3" / "bin" / "python", "setup": BENCHMARKS / "peers" / "setup_sb3.py"}
    return peer("learn_sb3.py", experiment.env, *budget, *experiment.peer.split(), **places)


def summary(seed: int, evaluation: dict, rounds: list[dict]) -> dict:
    """What one seed came to."""
    return {
        "seed": seed,
        "seed_kind": seed_kind(seed),
        "env_steps": rounds[-1]["env_steps"],
        "wall_s": rounds[-1]["wall_s"],
        "steps_to_solved": next((line["env_steps"] for line in rounds if line["solved"]), None),
        "steps_per_s": statistics.median(line["steps_per_s"] for line in rounds),
        "evaluation": {key: evaluation[key] for key in ("episodes", "mean", "std", "success", "returns")},
        "curve": [{key: line[key] for key in CURVE if key in line} for line in rounds],
    }


def seed_kind(seed: int) -> str:
    """Whether results of a seed may be quoted."""
    return "tuning" if seed in TUNING_SEEDS else "reporting"


def against_peer(one: dict) -> str:
    """Both on the same episodes."""
    if "same_episodes" not in one:
        return ""
    ours, theirs = statistics.mean(one["same_episodes"]), one["sb3"]["evaluation"]["mean"]
    return f"; on the same episodes {ours:.1f}, Stable-Baselines3 {theirs:.1f}"


def show(name: str, report: dict) -> None:
    """A line for each seed, and one for all of a kind."""
    for one in report["seeds"]:
        done = one["evaluation"]
        success = "" if done["success"] is None else f", success {done['success']:.0%}"
        print(
            f"{name}, {one['seed_kind']} seed {one['seed']}: {one['env_steps']} steps in {one['wall_s']:.0f} s "
            f"({one['steps_per_s']:.0f} per s); evaluated {done['mean']:.1f} ({done['episodes']} episodes{success})"
            + against_peer(one)
        )
    for kind in ("tuning", "reporting"):
        means = [one["evaluation"]["mean"] for one in report["seeds"] if one["seed_kind"] == kind]
        spread = f" +- {spread_of(means):.1f} over seeds" if len(means) > 1 else ""
        if means:
            print(f"{name}, {len(means)} {kind} seeds: evaluated {statistics.mean(means):.1f}{spread}", flush=True)


if __name__ == "__main__":
    main()
