"""The map of an environment whose states are the cells of a grid, for pictures.

An environment has a map if its observations number the cells row by row and it has a transition table (`P`).  The
kinds of cells come from `desc`, one character for each cell, as FrozenLake and the mazes have it, or from `_cliff` of
CliffWalking.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from forethought.envs.env import Env, spaces_of


@dataclass(frozen=True)
class GridMap:
    """Cells: # wall, H hole or cliff, G goal, S start, anything else free; where each action leads on average."""

    cells: Shaped[np.ndarray, "R C"]  # characters
    moves: Float[np.ndarray, "A 2"]  # rows down and columns to the right, one of them ±1; zero for no direction


def grid_map(env: Env) -> GridMap | None:
    """The map of an environment; None if its states are not the cells of a grid."""
    inner = getattr(env, "unwrapped", None)
    cells, table = _cells(inner), getattr(inner, "P", None)
    if cells is None or not table or spaces_of(env).observations.states != cells.size:
        return None
    return GridMap(cells, _moves(table, cells))


def _cells(env: Any) -> Shaped[np.ndarray, "R C"] | None:
    desc, cliff = getattr(env, "desc", None), getattr(env, "_cliff", None)
    if isinstance(desc, np.ndarray) and desc.ndim == 2:
        return desc.astype(str)
    if not (isinstance(cliff, np.ndarray) and cliff.ndim == 2):
        return None
    cells = np.where(cliff, "H", ".")
    cells[-1, 0], cells[-1, -1] = "S", "G"  # as in figure 6.4 of the textbook
    return cells


def _moves(table: Any, cells: Shaped[np.ndarray, "R C"]) -> Float[np.ndarray, "A 2"]:
    """The main direction of each action's displacements by one cell: where it is slippery, the intended direction."""
    total = np.zeros((len(table[0]), 2))
    for s, row in table.items():
        for a, outcomes in row.items():
            for p, s_next, *_ in outcomes:
                step = np.subtract(divmod(int(s_next), cells.shape[1]), divmod(int(s), cells.shape[1]))
                total[a] += p * step if np.abs(step).sum() == 1 else 0
    main = np.abs(total).argmax(axis=1)[:, None]
    moves = np.zeros_like(total)
    np.put_along_axis(moves, main, np.sign(np.take_along_axis(total, main, axis=1)), axis=1)
    return moves
