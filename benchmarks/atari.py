"""Experts on Atari games, and one policy for all of them.

    python benchmarks/atari.py experts                      # 3 games, seeds 40 to 42, 1M steps: an hour each; continues
    python benchmarks/atari.py experts --games ALE/Pong-v4 --seeds 40
    python benchmarks/atari.py students --losses kl         # after the experts
    python benchmarks/atari.py show

No sticky actions; an episode begins with 1 to 30 frames without action; evaluation replaces 5% of the actions by random
ones (Mnih et al., 2015).  The student has the size of one expert.  Published scores: MR.Q at 1M steps, with sticky
actions.
"""

from experts import Suite, main

SUITE = Suite(
    name="atari",
    games={"ALE/Pong-v4": "15", "ALE/Boxing-v4": "95", "ALE/Freeway-v4": "32"},
    steps=1_000_000,
    rounds=30,
    expert=(
        "--rollouts.environments 8 --rollouts.steps 1024 --rollouts.round-steps 32768 --learner.minibatches 4 "
        "--learner.clip 0.1 --learner.learning-rate 2.5e-4 --learner.reward-limit 1 --learner.convolutions medium"
    ),
    student=(
        "--environments 8 --steps 1024 --round-steps 16384 --batch 128 --learning-rate 2.5e-4 --convolutions medium"
    ),
    episodes=10,
)

if __name__ == "__main__":
    main(SUITE, __doc__)
