"""Stable-Baselines3's side of `learners.py --peer`: PPO trained on a Gymnasium environment, then evaluated.

    python benchmarks/peers/learn_sb3.py CartPole-v1 --steps 100000 --seed 40 --settings '{"gamma": 0.99}'

Prints one JSON object.  Eight copies in one process (DummyVecEnv), 256 steps of each for an update, its other defaults
where no setting is given.  With --normalize observations and rewards are normalized (its VecNormalize), as its authors
do for MuJoCo.  Evaluation is by the mode of the policy, on episodes with seeds of their own.
"""

import argparse
import json
import statistics
import time
from importlib.metadata import version

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

COPIES, STEPS = 8, 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--settings", type=json.loads, default={}, help="of PPO, as JSON")
    parser.add_argument("--normalize", action="store_true", help="observations and rewards, by running moments")
    parser.add_argument("--episodes", type=int, default=10, help="of the evaluation")
    parser.add_argument("--threads", type=int, default=1)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    train_env, test_env = (make_vec_env(flags.env, n_envs=n, seed=s) for n, s in ((COPIES, flags.seed), (1, 10_000)))
    if flags.normalize:
        train_env = VecNormalize(train_env)
        test_env = VecNormalize(test_env, training=False, norm_reward=False)
    model = PPO("MlpPolicy", train_env, n_steps=STEPS // COPIES, device="cpu", seed=flags.seed, **flags.settings)
    begin = time.perf_counter()
    model.learn(flags.steps)
    wall = time.perf_counter() - begin
    if flags.normalize:
        test_env.obs_rms = train_env.obs_rms
    returns, lengths = evaluate_policy(model, test_env, flags.episodes, return_episode_rewards=True)
    last = [float(episode["r"]) for episode in model.ep_info_buffer]  # of the latest 100 episodes
    result = {
        "env_steps": model.num_timesteps,
        "wall_s": wall,
        "training_return": statistics.mean(last) if last else None,
        "evaluation": {
            "episodes": len(returns),
            "mean": statistics.mean(returns),
            "returns": list(map(float, returns)),
        },
        "lengths": lengths,
        "versions": {"torch": torch.__version__, "stable-baselines3": version("stable-baselines3")},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
