"""An environment is opened again from its record as it was opened first."""

import json

from forethought.runs.world import open_world, reopen


def test_what_is_told_about_an_environment_is_recorded():
    env, record = open_world("Pendulum-v1", cost="toy:price", termination="toy:never", angles=(2,))
    again = reopen(json.loads(json.dumps(record)))
    assert again.space == env.space
    assert again.space.angles == (2,)
    assert not again.learn_reward and not again.learn_termination


def test_an_environment_that_nothing_is_told_about_learns_the_rest():
    env = reopen(open_world("Pendulum-v1")[1])
    assert env.space.angles == ()
    assert env.learn_reward
