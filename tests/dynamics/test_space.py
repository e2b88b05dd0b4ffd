"""State spaces: the names of coordinates."""

import dataclasses

import pytest

from forethought.dynamics.space import StateSpace


def test_coordinates_without_names_are_numbered_and_angles_have_their_unit():
    assert StateSpace(3, (1,)).names == ("x[0]", "x[1] (rad)", "x[2]")


def test_names_are_kept_by_spaces_made_from_this_one():
    space = StateSpace(2, (0,), ((0, 1),), 0.1, ["angle (rad)", "angular velocity (rad/s)"])
    assert space.without_velocities().names == space.names == ("angle (rad)", "angular velocity (rad/s)")
    assert hash(space) == hash(dataclasses.replace(space))


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_names_are_as_many_as_coordinates_and_differ(names):
    with pytest.raises(ValueError, match="2 different names"):
        StateSpace(2, names=names)
