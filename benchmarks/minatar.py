"""Experts on MinAtar, and one policy for all four games.

    python benchmarks/minatar.py experts                    # 4 games, seeds 40 to 42, 10M steps each; continues
    python benchmarks/minatar.py experts --games MinAtar/Breakout-v1 --seeds 40
    python benchmarks/minatar.py students                   # kl, nll and mse; after the experts
    python benchmarks/minatar.py students --data teacher
    python benchmarks/minatar.py show

The student has one trunk of 112 features, so that it has less than 25% of the parameters of the four experts' policies
together.  Published scores: PPO of gymnax at 10M steps, whose episodes end after 1,000 steps.
"""

from experts import Suite, main

SUITE = Suite(
    name="minatar",
    games={
        "MinAtar/Asterix-v1": "15",
        "MinAtar/Breakout-v1": "28",
        "MinAtar/Freeway-v1": "58",
        "MinAtar/SpaceInvaders-v1": "131",
    },
    steps=10_000_000,
    rounds=60,
    round_steps=40_960,
    expert="--learner.learning-rate 5e-3",  # Breakout: 5e-4 on seeds 40 and 100, 2e-3 and 5e-3 on 101
    student_episodes=200,  # returns in Breakout spread as much as their mean: 200 are certain to a tenth
    # on seed 100, with the experts of seed 41: 8 rounds at 5e-3 return what 50 do at 5e-4
    student="--units 112 --learning-rate 5e-3",
)

if __name__ == "__main__":
    main(SUITE, __doc__)
