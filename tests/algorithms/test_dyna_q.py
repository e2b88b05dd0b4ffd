"""Dyna-Q, Dyna-Q+ and prioritized sweeping against plain-Python versions of the textbook's boxes, and as runs."""

import dataclasses
from functools import partial

import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.algorithms.protocol import Algorithm
from forethought.algorithms.tabular import table_size
from forethought.algorithms.tabular_experiment import greedy_return, greedy_steps, run_episodes, run_steps
from forethought.cli.main import main
from forethought.core import Transition, UsageError
from forethought.envs.grids import mazes
from forethought.envs.grids.tabular_mdp import TabularMDP

S, A, N = 12, 3, 4
ALPHA, GAMMA, THETA = 0.3, 0.9, 1e-3
KAPPA = 0.05
MAZE = TabularMDP.of(gym.make("forethought/DynaMaze-v0"), horizon=10**6)


def random_rows(count=150):
    """Steps in a deterministic world of random transitions and rewards."""
    rng = np.random.default_rng(1)
    x_next, reward = rng.integers(0, S, (S, A)), rng.normal(size=(S, A)).astype(np.float32)
    terminal = rng.random((S, A)) < 0.15
    s, a = rng.integers(0, S - 2, count), rng.integers(0, A, count)  # two states are never visited
    arrays = s.astype(np.int32), a.astype(np.int32), x_next[s, a].astype(np.int32), reward[s, a], terminal[s, a]
    return Transition(*map(jnp.asarray, arrays), jnp.zeros(count, bool))


ROWS = random_rows()
KEYS = jr.split(jr.key(5), len(ROWS))


@partial(jax.jit, static_argnums=0)
def learned(algorithm, state, rows=ROWS, keys=KEYS):
    return jax.lax.scan(lambda state, at: (algorithm.learn(state, at[0], key=at[1]), None), state, (rows, keys))[0]


class Textbook:
    """The boxes of chapter 8 with dictionaries; random choices are read from uniform numbers."""

    def __init__(self):
        self.Q, self.model, self.last, self.time = np.zeros((S, A)), {}, np.zeros((S, A)), 0

    def real(self, s, a, r, s_next, over):
        self.time += 1
        self.model.setdefault(s, {})[a] = (r, s_next, over)
        self.last[s, a] = self.time

    def update(self, s, a, r, s_next, over):
        self.Q[s, a] += ALPHA * (r + GAMMA * (0 if over else self.Q[s_next].max()) - self.Q[s, a])

    def dyna_q(self, u):
        states = list(self.model)
        s = states[pick(u[0], len(states))]
        a = sorted(self.model[s])[pick(u[1], len(self.model[s]))]
        self.update(s, a, *self.model[s][a])

    def dyna_q_plus(self, u):
        states = list(self.model)
        s, a = states[pick(u[0], len(states))], pick(u[1], A)
        r, s_next, over = self.model[s].get(a, (0.0, s, False))
        self.update(s, a, r + KAPPA * np.sqrt(self.time - self.last[s, a]), s_next, over)


def pick(u, n):
    return int(np.float32(u) * np.float32(n))


@pytest.mark.parametrize("plus", [False, True])
def test_dyna_is_the_textbooks_with_the_same_random_choices(plus):
    common = {"planning_steps": N, "step_size": ALPHA, "discount": GAMMA}
    algorithm = ft.DynaQPlus(**common, kappa=KAPPA) if plus else ft.DynaQ(**common)
    state, book = learned(algorithm, algorithm.empty(S, A)), Textbook()
    for t in range(len(ROWS)):
        s, a, s_next, r, over = (np.asarray(leaf[t]).item() for leaf in jax.tree.leaves(ROWS)[:5])
        book.update(s, a, r, s_next, over)
        book.real(s, a, r, s_next, over)
        for u in np.asarray(jr.uniform(KEYS[t], (N, 3))):
            (book.dyna_q_plus if plus else book.dyna_q)(u)
    np.testing.assert_allclose(state.q, book.Q, atol=1e-5)
    assert int(state.updates) == len(ROWS) * (1 + N)
    assert not np.any(state.q[S - 2 :])  # states that were never visited


def test_prioritized_sweeping_is_the_textbooks():
    algorithm = ft.PrioritizedSweeping(planning_steps=N, step_size=ALPHA, discount=GAMMA, theta=THETA)
    state, book, queue, updates = learned(algorithm, algorithm.empty(S, A)), Textbook(), {}, 0
    target = lambda r, s_next, over: r + GAMMA * (0 if over else book.Q[s_next].max())  # noqa: E731
    for t in range(len(ROWS)):
        s, a, s_next, r, over = (np.asarray(leaf[t]).item() for leaf in jax.tree.leaves(ROWS)[:5])
        book.real(s, a, r, s_next, over)
        priority = abs(target(r, s_next, over) - book.Q[s, a])
        if priority > THETA:
            queue[s, a] = max(priority, queue.get((s, a), 0))
        for _ in range(N):
            if not queue:
                break
            s, a = max(queue, key=queue.__getitem__)
            del queue[s, a]
            book.update(s, a, *book.model[s][a])
            updates += 1
            for before, actions in book.model.items():
                for b, (r, s_next, over) in actions.items():
                    if s_next == s and not over and abs(target(r, s_next, over) - book.Q[before, b]) > THETA:
                        new = abs(target(r, s_next, over) - book.Q[before, b])
                        queue[before, b] = max(new, queue.get((before, b), 0))
    np.testing.assert_allclose(state.q, book.Q, atol=1e-4)
    assert int(state.updates) == updates


@dataclasses.dataclass(frozen=True)
class QLearning:
    """Section 6.5, without a model; `empty` is Dyna-Q's, for its shape."""

    epsilon: float = 0.1

    def empty(self, states, actions):
        return ft.DynaQ().empty(states, actions)

    def learn(self, state, row, *, key):
        s, a, q = row.x, row.u, state.q
        best = jnp.where(row.terminated, 0, jnp.max(q[row.x_next]))
        q = q.at[s, a].add(0.1 * (row.reward + 0.95 * best - q[s, a]))
        return dataclasses.replace(state, q=q, updates=state.updates + 1)


def test_no_planning_is_q_learning_bit_for_bit():
    state, told = run_steps(ft.DynaQ(planning_steps=0), MAZE, 4000, key=jr.key(0))
    plain, told_plain = run_steps(QLearning(), MAZE, 4000, key=jr.key(0))
    np.testing.assert_array_equal(state.q, plain.q)
    np.testing.assert_array_equal(told.reward, told_plain.reward)
    assert float(told.reward.sum()) > 5 and int(state.updates) == 4000


def test_without_a_bonus_only_untried_actions_distinguish_dyna_q_plus():
    plain, plus = (kind(planning_steps=N, **extra) for kind, extra in ((ft.DynaQ, {}), (ft.DynaQPlus, {"kappa": 0.0})))
    known = learned(plain, plain.empty(S, A))
    tried = known.model.count[:10] > 0
    assert bool(jnp.all(tried))  # of every state visited all actions
    np.testing.assert_array_equal(learned(plain, known).q, learned(plus, known).q)
    assert not np.array_equal(known.q, learned(plus, plus.empty(S, A)).q)  # which planned with untried actions at first


def distances(cells):
    """Breadth-first steps of every cell to the goal."""
    goal = tuple(np.argwhere(cells == "G")[0])
    found, border = {goal: 0}, [goal]
    while border:
        i, j = border.pop(0)
        for near in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            inside = all(0 <= k < n for k, n in zip(near, cells.shape, strict=True))
            if inside and cells[near] != "#" and near not in found:
                found[near] = found[i, j] + 1
                border.append(near)
    return found


def test_prioritized_sweeping_finds_the_optimal_values_of_the_maze():
    """The value of a cell d steps from the goal is 0.95^(d - 1)."""
    algorithm = ft.PrioritizedSweeping(planning_steps=50, step_size=1.0, theta=0.0, epsilon=1.0)
    state, _ = run_steps(algorithm, MAZE, 12_000, key=jr.key(1))
    cells = gym.make("forethought/DynaMaze-v0").unwrapped.desc
    found = distances(cells)
    values = np.asarray(state.q.max(axis=1)).reshape(cells.shape)
    for cell, d in found.items():
        np.testing.assert_allclose(values[cell], 0.95 ** (d - 1) if d else 0, atol=1e-5)
    assert found[2, 0] == 14 == int(greedy_steps(state.q, MAZE, 100))
    assert float(greedy_return(state.q, dataclasses.replace(MAZE, horizon=14))) == 1
    assert float(greedy_return(state.q, dataclasses.replace(MAZE, horizon=13))) == 0


def test_planning_saves_episodes_in_the_maze():
    def episodes(n):
        run = lambda key: run_episodes(  # noqa: E731
            ft.DynaQ(planning_steps=n), MAZE, 40, lambda q: -greedy_steps(q, MAZE, 16), enough=-16.0, key=key
        )
        _, told = jax.jit(lambda keys: jax.lax.map(run, keys))(jr.split(jr.key(100), 3))
        return (np.asarray(told.length) > 0).sum(axis=1)

    without, with_planning = episodes(0), episodes(20)
    assert np.median(with_planning) <= 6 < 12 < np.median(without)


ENVS = {"dyna-q": ft.DynaQ(), "dyna-q-plus": ft.DynaQPlus(), "prioritized-sweeping": ft.PrioritizedSweeping()}


@pytest.mark.parametrize("name", ["dyna-q", *(pytest.param(name, marks=pytest.mark.slow) for name in list(ENVS)[1:])])
def test_a_run_resumes_exactly(name, tmp_path):
    algorithm, how = dataclasses.replace(ENVS[name], round_episodes=2), {"seed": 3, "progress": False}
    assert isinstance(algorithm, Algorithm)
    whole = ft.train(algorithm, "FrozenLake-v1", iterations=3, out=tmp_path / "whole", **how)
    ft.train(algorithm, "FrozenLake-v1", iterations=1, out=tmp_path / "parts", **how)
    parts = ft.train(algorithm, "FrozenLake-v1", iterations=3, out=tmp_path / "parts", resume=True, **how)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)
    line = whole.metrics[-1]
    assert line["episodes"] == 6 and line["pairs_tried"] == int((whole.state.model.count > 0).sum())
    assert int(whole.state.model.time) == line["env_steps"]
    assert whole.act(np.int64(0)).shape == () and len(whole.evaluate(episodes=2).returns) == 2


def test_a_changing_maze_resumes_where_it_was(tmp_path, monkeypatch):
    early = dataclasses.replace(mazes.MAZES["BlockingMaze-v0"], change_after=60)
    monkeypatch.setitem(mazes.MAZES, "BlockingMaze-v0", early)
    options = {"seed": 0, "progress": False, "horizon": 40}
    name, algorithm = "forethought/BlockingMaze-v0", ft.DynaQPlus()
    whole = ft.train(algorithm, name, iterations=4, out=tmp_path / "whole", **options)
    ft.train(algorithm, name, iterations=2, out=tmp_path / "parts", **options)
    parts = ft.train(algorithm, name, iterations=4, out=tmp_path / "parts", resume=True, **options)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)
    run = ft.load(tmp_path / "parts")
    run.evaluate(episodes=1)
    assert run.env.unwrapped.desc[3, 0] == "."  # evaluated in the maze as it was at the end of training


def test_the_command_line_trains_evaluates_and_reports(tmp_path, capsys):
    out = str(tmp_path / "run")
    words = ["train", "dyna-q", "forethought/DynaMaze-v0", "--iterations", "2", "--planning-steps", "20", "--out", out]
    assert main([*words, "--horizon", "150"]) == 0
    assert main(["evaluate", out, "--episodes", "1"]) == 0
    assert main(["report", out, "--no-video", "--episodes", "1"]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Value function and greedy policy" in page and "never visited" in page
    assert "no learned dynamics model" not in page
    capsys.readouterr()


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ("CartPole-v1", r"CartPole-v1 observes float32 \[4\] and has 2 actions: a grid of 10 .* have 20,000 cells"),
        ("forethought/PendulumSwingUp-v0", "1 continuous action coordinates: .* would have 1,000 cells"),
        ("forethought/ArmSevenJoint-v0", r"10\^27 cells"),
    ],
)
def test_continuous_environments_are_refused_with_the_size_of_a_grid(env, text):
    with pytest.raises(UsageError, match=text) as refused:
        ft.DynaQ().init(ft.open_env(env), key=jr.key(0))
    assert "\n" not in str(refused.value)


def test_a_table_that_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="500 states and 6 actions.*3,000,000,000 cells"):
        table_size(ft.open_env("Taxi-v4"), outcomes=1_000_000)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ft.DynaQ, {"planning_steps": -1}),
        (ft.DynaQ, {"step_size": 0.0}),
        (ft.DynaQ, {"epsilon": 1.5}),
        (ft.DynaQ, {"outcomes": 0}),
        (ft.DynaQPlus, {"kappa": -1e-3}),
        (ft.PrioritizedSweeping, {"theta": float("nan")}),
        (ft.PrioritizedSweeping, {"discount": 1.1}),
        (ft.PrioritizedSweeping, {"round_episodes": 0}),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"{kind.__name__}.{name} must be"):
        kind(**settings)
