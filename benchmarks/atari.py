"""Experts on Atari games, and one policy for all of them.

    python benchmarks/atari.py experts                      # 3 games, seeds 41 to 43, 16 minutes each; continues
    python benchmarks/atari.py experts --games ALE/Breakout-v4 --seeds 41
    python benchmarks/atari.py students --losses kl         # after the experts
    python benchmarks/atari.py show

No sticky actions; an episode begins with 1 to 30 frames without action; evaluation replaces 5% of the actions by random
ones (Mnih et al., 2015), and draws the others from the policy: the most probable ones alone return a third as much on
Crazy Climber.  The student has the size of one expert.  Published: MR.Q, with sticky actions.

Games in which PPO learns something in 300,000 steps.  In others it did not: on Freeway random actions never crossed the
road in 160,000 steps, and on Boxing the return stayed within 4 of that of random actions in 330,000 (seeds 40 and 41).
The learning rate is 1e-3, because 5e-4 moved the policy little on Breakout (KL 0.0013 an update, a return of 6 after
330,000 steps, seed 40, which is not reported).
"""

from experts import Suite, main

SUITE = Suite(
    name="atari",
    games={"ALE/Breakout-v4": "11 at 100k, 19 at 500k", "ALE/SpaceInvaders-v4": "", "ALE/CrazyClimber-v4": ""},
    steps=300_000,
    rounds=9,
    round_steps=16_384,
    expert=(
        "--rollouts.environments 8 --rollouts.steps 1024 --rollouts.round-steps 32768 --learner.minibatches 4 "
        "--learner.clip 0.1 --learner.learning-rate 1e-3 --learner.reward-limit 1 --learner.convolutions medium"
    ),
    student="--environments 8 --steps 1024 --batch 64 --convolutions medium --learning-rate 1e-3",
    seeds=(41, 42, 43),
    episodes=10,
    sampled=True,
)

if __name__ == "__main__":
    main(SUITE, __doc__)
