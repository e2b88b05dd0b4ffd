"""The textbook's mazes as Gymnasium environments."""

from typing import Any

import gymnasium as gym
import numpy as np

from forethought.envs.drawing.renderers import BLUE, FAINT, GREEN, INK, PALE_GREEN, Canvas, Window
from forethought.envs.grids.mazes import MAZES, scaled

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left, as in Gymnasium's CliffWalking
COLORS = {"#": INK, "S": FAINT, "G": PALE_GREEN}

Table = dict[int, dict[int, list[tuple[float, int, float, bool]]]]  # Gymnasium's: P[s][a] = [(p, s', r, terminal)]


class MazeEnv(gym.Env):
    """The observation is the number of the cell, row by row.  The reward is 1 on arrival at the goal, else 0.

    A move into a wall or out of the maze leaves the agent where it is.  A maze with two maps changes between episodes:
    an episode uses the second map if more than `change_after` steps were made before it.  `reset` takes this number as
    the option `elapsed_steps`; without it, the environment counts its own steps.
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 4}

    def __init__(self, name: str, *, scale: int = 1, render_mode: str | None = None):
        """A maze by name, each cell divided into `scale` x `scale` cells."""
        if scale < 1:
            raise ValueError(f"scale must be at least 1, got {scale}.")
        self.maze, self.render_mode = MAZES[name], render_mode
        self.maps = [np.array([list(row) for row in scaled(rows, scale)]) for rows in self.maze.maps]
        self.tables = [transition_table(cells) for cells in self.maps]
        self.since = [0, *([self.maze.change_after + 1] if self.maze.change_after is not None else [])]
        self.observation_space = gym.spaces.Discrete(self.maps[0].size)
        self.action_space = gym.spaces.Discrete(len(MOVES))
        self.initial_state_distrib = (self.maps[0].ravel() == "S").astype(float)
        self.elapsed_steps = 0
        self._phase, self._state = 0, int(np.argmax(self.initial_state_distrib))
        self._window: Window | None = None

    @property
    def nonstationary(self) -> bool:
        """Whether the maze changes with the number of steps."""
        return len(self.maps) > 1

    @property
    def desc(self) -> np.ndarray:
        """The map of this episode: one character for each cell."""
        return self.maps[self._phase]

    @property
    def P(self) -> Table:  # noqa: N802 - Gymnasium's name
        """The transitions of this episode, in Gymnasium's format."""
        return self.tables[self._phase]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict]:
        """The start; the option `elapsed_steps` tells how many steps were made before this episode."""
        super().reset(seed=seed)
        self.elapsed_steps = int((options or {}).get("elapsed_steps", self.elapsed_steps))
        self._phase = sum(since <= self.elapsed_steps for since in self.since) - 1
        self._state = int(np.argmax(self.initial_state_distrib))
        self._show()
        return self._state, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict]:
        """One move."""
        ((_, self._state, reward, terminal),) = self.P[self._state][int(action)]
        self.elapsed_steps += 1
        self._show()
        return self._state, reward, terminal, False, {}

    def render(self) -> np.ndarray | None:
        """The maze as an RGB picture, or shown in a window (render mode human)."""
        return self._picture() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window = self._window or Window("Maze", fps=self.metadata["render_fps"])
            self._window.show(self._picture())

    def _picture(self) -> np.ndarray:
        rows, columns = self.desc.shape
        canvas = Canvas(scale=min(600 / columns, 360 / rows), center=(columns / 2, -rows / 2))
        for (i, j), cell in np.ndenumerate(self.desc):
            canvas.box((j + 0.5, -i - 0.5), (0.96, 0.96), COLORS.get(str(cell), (255, 255, 255)))
        i, j = divmod(self._state, columns)
        canvas.disc((j + 0.5, -i - 0.5), 0.3, GREEN if self.desc[i, j] == "G" else BLUE)
        return canvas.picture()


def transition_table(cells: np.ndarray) -> Table:
    """Gymnasium's table of a map [rows, columns] of characters; walls and goals have transitions to themselves."""
    return {s: {a: [_move(cells, s, a)] for a in range(len(MOVES))} for s in range(cells.size)}


def _move(cells: np.ndarray, s: int, a: int) -> tuple[float, int, float, bool]:
    i, j = divmod(s, cells.shape[1])
    if cells[i, j] == "G":
        return 1.0, s, 0.0, True
    row, column = i + MOVES[a][0], j + MOVES[a][1]
    inside = 0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]
    if not inside or "#" in (cells[i, j], cells[row, column]):
        return 1.0, s, 0.0, False
    arrived = bool(cells[row, column] == "G")
    return 1.0, row * cells.shape[1] + column, float(arrived), arrived
