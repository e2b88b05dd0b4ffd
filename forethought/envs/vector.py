"""Episodes from a Gymnasium vector environment, in all three of its autoreset modes.

After an episode of a sub-environment has ended, Gymnasium starts the next one in one of three modes.  In each mode a
reset looks like a step, but it must not be recorded as a transition.

    NEXT_STEP   the next `step` ignores the action and returns the first observation of the new episode
    SAME_STEP   the `step` that ends an episode returns the first observation of the new one; the last observation of
                the old episode is in `final_obs`
    DISABLED    nothing happens until `reset(options={"reset_mask": mask})`
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from jaxtyping import PRNGKeyArray

from forethought.core import Controller, EnvironmentFailure, Transition, UsageError
from forethought.envs.acting import runs_on_host
from forethought.envs.codecs import ActionCodec, ObservationCodec
from forethought.envs.episode import EpisodeLog, call_env, seed_of
from forethought.envs.gym_env import GymEnv


def collect_vector(
    envs: VectorEnv,
    controller: Controller,
    *,
    key: PRNGKeyArray,
    steps: int | None = None,
    episodes: int | None = None,
) -> list[Transition]:
    """Episodes of a vector environment with B sub-environments, in the order in which they ended.

    Args:
        envs: the vector environment; `metadata["autoreset_mode"]` defines how it starts new episodes.
        controller: chooses the actions; batched over sub-environments, with a new memory in each episode.
        key: seeds the first reset and the controller.
        steps: number of transitions after which to stop; the last step of an unfinished episode is marked as
            truncated.  Give either `steps` or `episodes`.
        episodes: number of whole episodes, equally many from each sub-environment, so that the sample is not biased
            towards short episodes.

    Raises:
        UsageError: unsupported spaces, an unknown autoreset mode, both or neither of `steps` and `episodes`, or a
            controller that runs on the host.
        EnvironmentFailure: as in `Env.run`; `episode` holds the steps of the sub-environment that failed.
    """
    if (steps is None) == (episodes is None):
        raise UsageError("collect_vector needs either steps or episodes.")
    if runs_on_host(controller):
        raise UsageError(f"{type(controller).__name__} acts on the host, in one environment at a time: use collect.")
    run = VectorRun(envs, controller, key=key)
    while not run.enough(steps, episodes):
        run.step()
    return run.cut() if steps is not None else run.shared_out(episodes or 0)


class VectorRun:
    """The sub-environments and their running episodes.

    `controller` may be replaced between steps by one of the same kind.  `fresh` [B]: an episode starts in this state.
    `resetting` [B]: the next step only resets (NEXT_STEP).
    """

    def __init__(
        self,
        envs: VectorEnv,
        controller: Controller,
        *,
        rules: GymEnv | None = None,
        keep: bool = True,
        key: PRNGKeyArray,
    ):
        """All sub-environments in their initial states.

        Args:
            envs: the vector environment.
            controller: chooses the actions.
            rules: whose cost, termination and time limit hold in place of the sub-environments' own; then the mode
                is DISABLED, so that an episode can end where the sub-environment would go on.
            keep: whether episodes keep their observations; otherwise these are arrays without entries.
            key: seeds the first reset and the controller.
        """
        self.envs, self.controller, self.mode = envs, controller, _autoreset_mode(envs)
        self.rules, self.keep = rules, keep
        if rules is not None and self.mode != AutoresetMode.DISABLED:
            raise UsageError("VectorRun needs AutoresetMode.DISABLED where rules are given.")
        self.name = envs.spec.id if envs.spec is not None else type(envs).__name__
        self.observation = ObservationCodec(envs.single_observation_space, self.name)
        self.action = ActionCodec(envs.single_action_space, self.name)
        self.logs = [EpisodeLog() for _ in range(envs.num_envs)]
        self.done: list[tuple[int, Transition]] = []  # each with the index of its sub-environment
        self.recent = [EpisodeLog() for _ in range(envs.num_envs)]  # steps since the last call of `batch`
        self.counts = np.zeros(envs.num_envs, int)  # number of finished episodes
        self.steps = self.calls = 0
        seed_key, init_key, self.key = jr.split(key, 3)
        self.xs = self.read(call_env(self.name, 0, envs.reset, seed=seed_of(seed_key))[0])
        self.carry = _begin(controller, self.xs, init_key)
        self.fresh = np.zeros(envs.num_envs, bool)
        self.resetting = np.zeros(envs.num_envs, bool)

    def step(self) -> None:
        """Step all sub-environments, record all steps except resets, and start new episodes after those that ended."""
        ts = np.array([len(log) for log in self.logs], np.int32)
        inputs = (self.xs, ts, self.carry, self.fresh, self.key, np.uint32(self.calls))
        wishes, self.carry = _act(self.controller, *inputs)
        us = [self.action.read(u, int(t)) for u, t in zip(np.asarray(wishes), ts, strict=True)]
        self.calls += 1
        actions = np.stack([self.action.write(u) for u in us])
        observed, rewards, ended, cut, infos = call_env(self.name, self.calls, self.envs.step, actions)
        starts = self.read(observed)
        over = (ended | cut) & ~self.resetting
        arrived = self.arrivals(starts, over, infos)
        for i in map(int, np.flatnonzero(~self.resetting)):
            told = (float(rewards[i]), bool(ended[i]), bool(cut[i]))
            if self.rules is not None:
                told = self.judged(i, us[i], arrived[i], told, int(ts[i]))
                over[i] = told[1] or told[2]
            self.record(i, us[i], np.asarray(arrived[i]), *told)
        self.restart(starts, over)

    def judged(self, i: int, u: np.ndarray, x_next: np.ndarray, told: tuple, t: int) -> tuple[float, bool, bool]:
        """Reward, terminated and truncated of a step by the rules."""
        assert self.rules is not None
        try:
            return self.rules.judge(np.asarray(self.xs[i]), u, np.asarray(x_next), told, t)
        except EnvironmentFailure as error:
            error.episode = self.logs[i].episode()
            raise

    def batch(self, count: int) -> Transition:
        """The first `count` steps since this was last asked for, leading axis [count]; those beyond are left out.

        The steps of each sub-environment follow each other, in order.  The last of them is marked as truncated unless
        it ended its episode: what comes after it in the batch belongs to another episode.
        """
        pieces = [_truncated(log.whole()) for log in self.recent if len(log)]
        self.recent = [EpisodeLog() for _ in self.recent]
        rows = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *pieces)
        return _truncated(rows)

    def streams(self) -> Transition:
        """The steps since this was last asked for, leading axes [T, B]; each sub-environment made as many.

        Only for the mode DISABLED, in which every call is a step of every sub-environment.
        """
        pieces = [log.whole() for log in self.recent]
        self.recent = [EpisodeLog() for _ in self.recent]
        return jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *pieces)

    def arrivals(self, starts: np.ndarray, over: np.ndarray, infos: dict[str, Any]) -> np.ndarray:
        """The observations [B, *n] after the step, also if `starts` holds the first ones of new episodes."""
        if self.mode != AutoresetMode.SAME_STEP or not over.any():
            return starts
        arrived = starts.copy()
        for i in np.flatnonzero(over):
            arrived[i] = self.observation.read(infos["final_obs"][i], self.calls)
        return arrived

    def record(self, i: int, u: np.ndarray, x_next: np.ndarray, reward: float, ended: bool, cut: bool) -> None:
        """Record one step of sub-environment `i`."""
        if not np.isfinite(reward):
            failure = f"{self.name} gave the reward {reward} in sub-environment {i} at step {self.calls}."
            raise EnvironmentFailure(failure, self.logs[i].episode())
        x, none = np.asarray(self.xs[i]), np.zeros(0, x_next.dtype)
        self.recent[i].append(x, u, x_next, reward, ended, cut)
        kept = (x, x_next) if self.keep else (none, none)
        self.logs[i].append(kept[0], u, kept[1], reward, ended, cut)
        self.steps += 1
        if ended or cut:
            self.done.append((i, self.logs[i].whole()))
            self.logs[i] = EpisodeLog()
            self.counts[i] += 1

    def restart(self, starts: np.ndarray, over: np.ndarray) -> None:
        """Prepare the next step; `starts` [B, n] are the returned observations, `over` [B] marks ended episodes."""
        self.xs, self.fresh = starts, over
        if self.mode == AutoresetMode.NEXT_STEP:
            self.fresh, self.resetting = self.resetting, over
        elif self.mode == AutoresetMode.DISABLED and over.any():
            reset = call_env(self.name, self.calls, self.envs.reset, options={"reset_mask": over.copy()})
            self.xs = self.read(reset[0])

    @property
    def recorded(self) -> int:
        """Steps since `batch` was last asked for."""
        return sum(map(len, self.recent))

    @property
    def last_return(self) -> float:
        """The return of the episode that ended last; NaN where none did."""
        return float(np.sum(self.done[-1][1].reward)) if self.done else float("nan")

    def read(self, observed: Any) -> np.ndarray:
        """A batch of observations [B, *n]."""
        rows = []
        for i, row in enumerate(iterate(self.envs.observation_space, observed)):
            try:
                rows.append(self.observation.read(row, self.calls))
            except EnvironmentFailure as error:
                message = f"{str(error).rstrip('.')}, in sub-environment {i}."
                raise EnvironmentFailure(message, self.logs[i].episode()) from error
        return np.stack(rows)

    def enough(self, steps: int | None, episodes: int | None) -> bool:
        """Whether the number of steps or episodes is reached."""
        if steps is not None:
            return self.steps >= steps
        return bool((self.counts >= self.shares(episodes or 0)).all())

    def shares(self, episodes: int) -> np.ndarray:
        """How many of `episodes` each sub-environment runs [B]."""
        share, rest = divmod(episodes, self.envs.num_envs)
        return share + (np.arange(self.envs.num_envs) < rest)

    def cut(self) -> list[Transition]:
        """All episodes; unfinished ones are marked as truncated."""
        running = [log.whole() for log in self.logs if len(log)]
        return [episode for _, episode in self.done] + [_truncated(episode) for episode in running]

    def shared_out(self, episodes: int) -> list[Transition]:
        """The first episodes of each sub-environment, up to its share of `episodes`."""
        left = self.shares(episodes)
        chosen = []
        for i, episode in self.done:
            if left[i]:
                left[i] -= 1
                chosen.append(episode)
        return chosen


@eqx.filter_jit
def _begin(controller: Controller, xs: Any, key: PRNGKeyArray) -> Any:
    keys = jr.split(key, xs.shape[0])
    return eqx.filter_vmap(lambda x, k: controller.init(x, key=k))(jnp.asarray(xs), keys)


@eqx.filter_jit
def _act(
    controller: Controller, xs: Any, ts: Any, carry: Any, fresh: Any, key: PRNGKeyArray, call: Any
) -> tuple[jax.Array, Any]:
    """The actions of one call, and the controller's memory; compiled with the key's arithmetic, which is slow alone."""

    def act(x: Any, t: Any, carry: Any, fresh: Any, key: PRNGKeyArray) -> tuple[jax.Array, Any]:
        init_key, act_key = jr.split(key)
        start = controller.init(x, key=init_key)
        carry = jax.tree.map(lambda new, old: jnp.where(fresh, new, old) if eqx.is_array(new) else old, start, carry)
        return controller.act(x, t, carry, key=act_key)

    keys = jr.split(jr.fold_in(key, call), xs.shape[0])
    return eqx.filter_vmap(act)(*map(jnp.asarray, (xs, ts)), carry, jnp.asarray(fresh), keys)


def _truncated(episode: Transition) -> Transition:
    truncated = episode.truncated.copy()
    truncated[-1] = not episode.terminated[-1]
    return eqx.tree_at(lambda e: e.truncated, episode, truncated)


def _autoreset_mode(envs: VectorEnv) -> AutoresetMode:
    mode = (envs.metadata or {}).get("autoreset_mode")
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
    except ValueError as error:
        known = ", ".join(f"AutoresetMode.{m.name}" for m in AutoresetMode)
        what = f"{type(envs).__name__} does not say how it resets (metadata['autoreset_mode'] is {mode!r})"
        raise UsageError(f"{what}: set it to one of {known}.") from error
