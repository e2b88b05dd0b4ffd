"""Small systems whose prediction errors are known exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import DiagonalGaussian, LinearGaussian, Plan, Problem, Transition


class Linear(eqx.Module):
    """x' = A x + B u + offset + std * noise."""

    A: Float[Array, "n n"]
    B: Float[Array, "n m"]
    offset: Float[Array, "n"]
    std: Float[Array, "n"]

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> DiagonalGaussian:
        del t
        return DiagonalGaussian(self.A @ x + self.B @ u + self.offset, self.std)

    def draw(self, *, key: PRNGKeyArray) -> "Linear":
        del key
        return self


class Members(eqx.Module):
    """Linear systems that differ in their offset: what an ensemble looks like to the report."""

    system: Linear
    offsets: Float[Array, "E n"]

    @property
    def member_count(self) -> int:
        return self.offsets.shape[0]

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> DiagonalGaussian:
        y = self.system(x, u, t)
        return DiagonalGaussian(y.mean + self.offsets.mean(0), jnp.sqrt(y.std**2 + self.offsets.var(0)))

    def draw(self, *, key: PRNGKeyArray) -> Linear:
        del key
        return self.system

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple[Linear, int]:
        del key
        assert count % self.member_count == 0
        return eqx.filter_vmap(lambda o: eqx.tree_at(lambda s: s.offset, self.system, o))(self.offsets), (
            count // self.member_count
        )


class Cost(eqx.Module):
    """Quadratic in the first coordinate; the episode is over beyond `limit`."""

    u_min: Float[Array, "m"]
    u_max: Float[Array, "m"]
    limit: float = 1e9
    horizon: int = eqx.field(static=True, default=40)
    dt: float = eqx.field(static=True, default=0.1)

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        return 0.1 * jr.normal(key, (2,))

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        del u, t
        return x[0] ** 2

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        return jnp.zeros((), x.dtype)

    def terminal(self, x: Float[Array, "n"]) -> Array:
        return x[0] > self.limit

    def solved(self, trajectory) -> Array | None:
        return jnp.abs(trajectory.xs[-1, 0]) < 1


class Constant(eqx.Module):
    """A planner that always answers with the same actions."""

    value: float = eqx.field(static=True, default=0.5)
    steps: int = eqx.field(static=True, default=6)

    def init(self, problem: Problem) -> tuple[()]:
        del problem
        return ()

    def plan(self, problem: Problem, x0: Float[Array, "n"], state: tuple[()], *, key: PRNGKeyArray):
        del key
        m, n = problem.task.u_min.shape[0], x0.shape[0]
        us = jnp.full((self.steps, m), self.value)
        policy = LinearGaussian(jnp.zeros((self.steps, m, n)), us, jnp.zeros((self.steps, m, m)))
        xs = jnp.broadcast_to(x0, (self.steps + 1, n))
        return Plan(policy, xs, jnp.zeros(()), jnp.zeros((), jnp.int32)), state


def oscillator(*, std: float = 0.0, offset: tuple[float, float] = (0.0, 0.0), dt: float = 0.1) -> Linear:
    """A damped oscillator that a force drives."""
    A = jnp.array([[1.0, dt], [-dt, 1 - 0.2 * dt]])
    return Linear(A, jnp.array([[0.0], [dt]]), jnp.array(offset), jnp.full(2, std))


def task(limit: float = 1e9) -> Cost:
    return Cost(-jnp.ones(1), jnp.ones(1), limit)


def episodes_of(system: Linear, *, count: int = 4, steps: int = 40, seed: int = 0) -> list[Transition]:
    """Real episodes under uniform actions, as an environment returns them (NumPy)."""
    rng = np.random.default_rng(seed)
    A, B, offset, std = (np.asarray(a, np.float64) for a in (system.A, system.B, system.offset, system.std))
    n, m = B.shape

    def episode() -> Transition:
        us = rng.uniform(-1, 1, (steps, m))
        xs = [rng.normal(size=n)]
        for u in us:
            xs.append(A @ xs[-1] + B @ u + offset + std * rng.normal(size=n))
        rows = np.array(xs)
        never, last = np.zeros(steps, bool), np.arange(steps) == steps - 1
        reward = -(rows[:-1, 0] ** 2)
        numbers = (jnp.asarray(a, jnp.float32) for a in (rows[:-1], us, rows[1:], reward))
        return jax.tree.map(np.asarray, Transition(*numbers, jnp.asarray(never), jnp.asarray(last)))

    return [episode() for _ in range(count)]
