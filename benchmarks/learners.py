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

import statistics
from dataclasses import dataclass
from pathlib import Path

from common import BENCHMARKS, ROOT, peer
from trainings import Experiment, Found, Study, Trained, evaluation_text, kept, main

PENDULUM, CARTPOLE = "forethought/PendulumSwingUp-v0", "forethought/CartPoleSwingUp-v0"
REACHER = "forethought/ReacherTwoLink-v0"
CURVE = ("env_steps", "episodes", "return", "return_mean", "wall_s", "phase")  # what is kept of each round
PEER_EVALUATION_SEED = 10_000  # of peers/learn_sb3.py
UNTIL = "--learner.learning-rate 3e-3 --until-solved"
FAST = "--learner.learning-rate 1e-3 --learner.epochs 4 --learner.minibatches 8"  # many cheap steps


@dataclass(frozen=True)
class ModelFree(Experiment):
    """One learner on one environment."""

    peer: str | None = None  # flags of peers/learn_sb3.py for the same settings


EXPERIMENTS = {
    "pendulum_ppo": ModelFree("ppo", PENDULUM, 1_000_000, f"{FAST} --learner.discount 0.98 --until-solved"),
    "pendulum_policy_gradient": ModelFree("policy-gradient", PENDULUM, 3_000_000, UNTIL),
    "pendulum_sac": ModelFree("sac", PENDULUM, 20_000, "--until-solved"),
    "cartpole_ppo": ModelFree("ppo", CARTPOLE, 3_000_000, f"{FAST} --learner.discount 0.98 --until-solved"),
    "cartpole_policy_gradient": ModelFree("policy-gradient", CARTPOLE, 3_000_000, UNTIL),
    "cartpole_sac": ModelFree("sac", CARTPOLE, 40_000, "--until-solved"),
    "reacher_ppo": ModelFree("ppo", REACHER, 1_000_000, f"{FAST} --learner.discount 0.98 --until-solved"),
    "reacher_policy_gradient": ModelFree("policy-gradient", REACHER, 3_000_000, UNTIL),
    "reacher_sac": ModelFree("sac", REACHER, 20_000, "--until-solved"),
    "gym_cartpole_ppo": ModelFree("ppo", "CartPole-v1", 100_000, peer=""),
    "gym_pendulum_ppo": ModelFree(
        "ppo",
        "Pendulum-v1",
        100_000,
        "--learner.learning-rate 1e-3 --learner.discount 0.9",
        peer='--settings {"learning_rate":1e-3,"gamma":0.9}',
    ),
    "gym_pendulum_sac": ModelFree("sac", "Pendulum-v1", 10_000),
    "cheetah_ppo": ModelFree("ppo", "HalfCheetah-v5", 300_000, peer="--normalize"),
    "cheetah_sac": ModelFree("sac", "HalfCheetah-v5", 100_000, "--random-steps 10000"),
}


def summary(trained: Trained) -> Found:
    """What one seed came to."""
    rounds = trained.rounds
    return {
        "env_steps": rounds[-1]["env_steps"],
        "wall_s": rounds[-1]["wall_s"],
        "steps_to_solved": next((line["env_steps"] for line in rounds if line["solved"]), None),
        "steps_per_s": statistics.median(line["steps_per_s"] for line in rounds),
        "evaluation": kept(trained.evaluation),
        "curve": [{key: line[key] for key in CURVE if key in line} for line in rounds],
    }


def summary_beside_peer(trained: Trained) -> Found:
    """What one seed came to, and with `--peer` what Stable-Baselines3 did."""
    one, experiment, flags = summary(trained), trained.experiment, trained.flags
    if flags.peer and experiment.peer is not None:
        one["same_episodes"] = returns_from_seed(trained.run, experiment.env, flags.episodes)
        one["sb3"] = trained.before.get("sb3") or trained_by_peer(experiment, trained.seed, flags.episodes)
    return one


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


def trained_by_peer(experiment: ModelFree, seed: int, episodes: int) -> dict:
    """What Stable-Baselines3 comes to with the same settings."""
    assert experiment.peer is not None
    budget = ["--steps", experiment.steps, "--seed", seed, "--episodes", episodes]
    places = {"python": ROOT / ".venv-sb3" / "bin" / "python", "setup": BENCHMARKS / "peers" / "setup_sb3.py"}
    return peer("learn_sb3.py", experiment.env, *budget, *experiment.peer.split(), **places)


def line(one: Found) -> str:
    """What one seed came to, in words."""
    rate = f"{one['env_steps']} steps in {one['wall_s']:.0f} s ({one['steps_per_s']:.0f} per s)"
    return f"{rate}; {evaluation_text(one)}{against_peer(one)}"


def against_peer(one: Found) -> str:
    """Both on the same episodes."""
    if "same_episodes" not in one:
        return ""
    ours, theirs = statistics.mean(one["same_episodes"]), one["sb3"]["evaluation"]["mean"]
    return f"; on the same episodes {ours:.1f}, Stable-Baselines3 {theirs:.1f}"


PEER = {"--peer": {"action": "store_true", "help": "train Stable-Baselines3 too, where its settings are known"}}
STUDY = Study("learners", EXPERIMENTS, __doc__, summary_beside_peer, line, extra=PEER)

if __name__ == "__main__":
    main(STUDY)
