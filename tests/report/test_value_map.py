"""Maps of grid environments, and what a report draws of a table."""

from types import SimpleNamespace

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.envs.grids.grid_map import grid_map
from forethought.report.value_map import value_map_sections

UP, RIGHT, DOWN, LEFT = (-1, 0), (0, 1), (1, 0), (0, -1)


@pytest.mark.parametrize(
    ("name", "shape", "moves", "counts"),
    [
        ("forethought/DynaMaze-v0", (6, 9), (UP, RIGHT, DOWN, LEFT), {"#": 7, "G": 1, "S": 1}),
        ("FrozenLake-v1", (4, 4), (LEFT, DOWN, RIGHT, UP), {"H": 4, "G": 1, "S": 1}),  # slippery
        ("CliffWalking-v1", (4, 12), (UP, RIGHT, DOWN, LEFT), {"H": 10, "G": 1, "S": 1}),
    ],
)
def test_maps_and_directions(name, shape, moves, counts):
    found = grid_map(ft.open_env(name))
    assert found.cells.shape == shape
    np.testing.assert_allclose(found.moves, moves, atol=1e-6)
    for kind, count in counts.items():
        assert (found.cells == kind).sum() == count


@pytest.mark.parametrize("name", ["Taxi-v4", "CartPole-v1", "forethought/PendulumSwingUp-v0"])
def test_no_map(name):
    assert grid_map(ft.open_env(name)) is None


def run_with(name, visited):
    env = ft.open_env(name)
    algorithm = ft.DynaQ()
    state = algorithm.init(env, key=jr.key(0))
    count = state.model.count.at[jnp.asarray(visited)].set(1) if visited else state.model.count
    q = jnp.arange(state.q.size, dtype=jnp.float32).reshape(state.q.shape)
    model = SimpleNamespace(count=count)
    return SimpleNamespace(state=SimpleNamespace(q=q, model=model, updates=jnp.int32(7)), env=env)


def test_states_never_visited_are_unknown_on_the_map():
    (section,) = value_map_sections(run_with("FrozenLake-v1", [0, 1, 4]))
    (picture,) = section.pictures
    svg = picture.svg.decode()
    unknown = 16 - 3 - 4 - 1  # neither visited nor a hole nor the goal
    assert svg.count(">?<") == unknown
    assert svg.count(">3<") == 1 and svg.count(">7<") == 1 and svg.count(">19<") == 1  # values of the visited ones
    assert section.table.rows[0] == ["states", "3", "13"]
    assert section.table.rows[1] == ["state-action pairs", "12", "52"]


def test_environments_without_a_map_get_a_histogram():
    (section,) = value_map_sections(run_with("Taxi-v4", list(range(40))))
    assert "visited states" in section.pictures[0].svg.decode() and section.table.rows[0][1:] == ["40", "460"]


def test_before_any_experience():
    (section,) = value_map_sections(run_with("Taxi-v4", []))
    assert not section.pictures
    (section,) = value_map_sections(run_with("FrozenLake-v1", []))
    assert section.pictures[0].svg.decode().count(">?<") == 16 - 5 - 1  # holes, goal, start


def test_other_algorithms_have_no_table():
    assert value_map_sections(SimpleNamespace(state=(), env=None)) == []
