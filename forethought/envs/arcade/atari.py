"""Atari games, emulated by ale-py, with the usual preprocessing; its C++ vector environment for training.

An observation is uint8 [4, 84, 84]: the last four pictures in gray.  An action is repeated for 4 frames, of which the
last two are combined by their maximum.  An episode begins with 1 to 30 frames without action (no-op starts), then the
fire button where the game has one, and lasts at most 108,000 frames, half an hour.

    ALE/Pong-v5   an action is replaced by the previous one with probability 0.25 (sticky actions)
    ALE/Pong-v4   no sticky actions

In whole episodes (evaluation, reports, videos) an action is replaced by a random one with probability 0.05, `EPSILON`;
training, which explores by itself, has none.  Rewards are the game's score.
Source: Bellemare et al. (2013), The Arcade Learning Environment; preprocessing, no-op starts and epsilon: Mnih et al.
(2015), methods; sticky actions: Machado et al. (2018), Revisiting the Arcade Learning Environment, section 5.
"""

import importlib
import re
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from forethought.core import UsageError, nearest
from forethought.envs.gym_env import GymEnv

NAMESPACE = "ALE/"
STICKY = {"v4": 0.0, "v5": 0.25}  # probability that the previous action is repeated, by the version in the id
EPSILON = 0.05
FRAME_SKIP, FRAMES, FRAMES_PER_SECOND = 4, 108_000, 60
ENLARGED = 4  # factor from an observation to a picture


class AtariGame(gym.Env):
    """One game, for whole episodes."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": FRAMES_PER_SECOND // FRAME_SKIP}

    def __init__(
        self, game: str, *, sticky: float = 0.0, epsilon: float = EPSILON, render_mode: str | None = "rgb_array"
    ):
        """A game by its name in ale-py ("pong"); `epsilon` is the probability of a random action."""
        if not 0 <= epsilon <= 1:
            raise ValueError(f"epsilon must be from 0 to 1, got {epsilon}.")
        self.epsilon, self.render_mode = epsilon, render_mode
        self._copies = vector_game(game, 1, sticky=sticky)
        self.observation_space = self._copies.single_observation_space
        self.action_space: Any = self._copies.single_action_space
        self._x: np.ndarray = self.observation_space.sample()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """A no-op start."""
        super().reset(seed=seed)
        del options
        xs, _ = self._copies.reset(seed=int(self.np_random.integers(2**31)))
        self._x = np.array(xs[0])
        return self._x, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Four frames."""
        u = int(action)
        if self.epsilon and self.np_random.random() < self.epsilon:
            u = int(self.np_random.integers(self.action_space.n))
        xs, rewards, ended, cut, _ = self._copies.step(np.array([u], np.int64))
        self._x = np.array(xs[0])
        return self._x, float(rewards[0]), bool(ended[0]), bool(cut[0]), {}

    def render(self) -> np.ndarray:
        """The last picture of the observation, enlarged."""
        gray = self._x[-1].repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
        return np.stack([gray] * 3, axis=-1)

    def close(self) -> None:
        """Stop the emulator."""
        self._copies.close()


def vector_game(game: str, count: int, *, sticky: float) -> VectorEnv:
    """`count` copies of a game, emulated in C++; they start new episodes on request (AutoresetMode.DISABLED).

    ale-py lacks this mode.  In its mode NEXT_STEP, a copy that was reset on request is not reset again.
    """
    envs = need_ale().AtariVectorEnv(
        game,
        count,
        frameskip=FRAME_SKIP,
        max_num_frames_per_episode=FRAMES,
        repeat_action_probability=sticky,
        reward_clipping=False,
        autoreset_mode=AutoresetMode.NEXT_STEP,
    )
    envs.metadata = {**envs.metadata, "autoreset_mode": AutoresetMode.DISABLED}
    return envs


def is_atari(id: str) -> bool:
    """Whether `id` is meant as an Atari game: "ALE/..."."""
    return id.startswith(NAMESPACE)


def atari_env(id: str, horizon: int | None = None, *, epsilon: float = EPSILON) -> GymEnv:
    """The game with this id, such as "ALE/Pong-v5"; episodes of at most `horizon` steps of 4 frames.

    Raises:
        UsageError: there is no such game or version, or the extra `atari` is not installed.
    """
    game, sticky = _game_and_sticky(id)

    def make(render_mode: str | None = "rgb_array") -> AtariGame:
        return AtariGame(game, sticky=sticky, epsilon=epsilon, render_mode=render_mode)

    return GymEnv(
        make(),
        name=id,
        horizon=horizon or FRAMES // FRAME_SKIP,
        dt=FRAME_SKIP / FRAMES_PER_SECOND,
        make=make,
        vector=lambda count: vector_game(game, count, sticky=sticky),
    )


def _game_and_sticky(id: str) -> tuple[str, float]:
    """The name in ale-py, and the probability of a repeated action."""
    from_title = {title_of(rom): rom for rom in need_ale("roms").get_all_rom_ids()}
    title, _, version = id[len(NAMESPACE) :].partition("-")
    if title not in from_title:
        guess = nearest(title, from_title)
        known = re.sub(r"'(\w+)'", rf"'{NAMESPACE}\1-v5'", guess) if "mean" in guess else "see ale_py.roms"
        raise UsageError(f"There is no Atari game '{id}'; {known}")
    if version not in STICKY:
        raise UsageError(
            f"There is no environment '{id}'; {NAMESPACE}{title}-v5 has sticky actions, {NAMESPACE}{title}-v4 has none."
        )
    return from_title[title], STICKY[version]


def title_of(rom: str) -> str:
    """The name of a game in ids: "ms_pacman" becomes "MsPacman"."""
    return rom.title().replace("_", "")


def need_ale(part: str = "vector_env") -> Any:
    """A module of ale-py.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(f"ale_py.{part}")
    except ImportError as problem:
        raise UsageError("Atari games need ale-py: pip install 'forethought[atari]'.") from problem
