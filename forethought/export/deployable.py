"""A controller as two pure functions of arrays, with its checks: what the exported programs compute.

    start(x, key) -> memory
    step(x, t, key, memory) -> u, valid, planned, memory
`x` is an observation of the system itself, `key` two uint32 words, `memory` a tuple of arrays.  For a delayed system
the past actions are the first array of the memory.  Where `x`, or what is computed from it, is not finite, `valid` is
False, `u` is the fallback action, and the memory stays as it was, except for the past actions.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt32

from forethought.core import Box, Controller, Discrete, Gaussian, Observations, UsageError
from forethought.core.delay import Delay, resting_action
from forethought.planning.mpc import MPC
from forethought.policies.squashed import RBF, SquashedPolicy
from forethought.policies.squashed import Network as RBFNetwork
from forethought.tasks.learned_task import FromObservation

Memory = tuple[Array, ...]
Stepped = tuple[Array, Array, Array, Memory]


class Deployable(eqx.Module):
    """A controller and what must be known to run it outside of its environment."""

    controller: Controller
    observations: Observations  # of the system, without past actions
    actions: Box | Discrete
    fallback: Shaped[Array, "*m"]
    past: Shaped[Array, "p"] | None  # past actions at the start of an episode; None without a delay
    delay: Delay | None = eqx.field(static=True, default=None)

    def start(self, x: Shaped[Array, "*n"], key: UInt32[Array, "2"]) -> Memory:
        """The memory at the start of an episode that begins with `x`."""
        valid = self._valid(x)
        x = jnp.where(valid, x, jnp.zeros_like(x))
        memory = self.controller.init(self._whole(x, self.past), key=jr.wrap_key_data(key))
        return (*_first(self.past), *_arrays(memory))

    def step(self, x: Shaped[Array, "*n"], t: Int[Array, ""], key: UInt32[Array, "2"], memory: Memory) -> Stepped:
        """The action for `x` at step `t` of the episode; see the head of this file."""
        past, own = (memory[0], memory[1:]) if self.delay is not None else (None, memory)
        valid = self._valid(x)
        seen = self._whole(jnp.where(valid, x, jnp.zeros_like(x)), past)
        u, planned, after = self._act(seen, t, key, own)
        valid &= jnp.all(jnp.isfinite(u)) & ~_has_nan(after)
        u = jnp.where(valid, self.actions.clip(u), self.fallback).astype(self.fallback.dtype)
        after = tuple(jnp.where(valid, new, old) for new, old in zip(after, own, strict=True))
        if self.delay is None or past is None:
            return u, valid, planned, after
        u = self.delay.sent(past, u).astype(u.dtype)
        return u, valid, planned, (self.delay.pushed(past, u), *after)

    def memory_names(self) -> list[str]:
        """A name for each array of the memory."""
        structure = self.structure()
        names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in structure.paths]
        return [
            *(["past actions, newest first"] if self.delay is not None else []),
            *(f"memory{n and '.' + n}" for n in names),
        ]

    def _act(self, seen: Array, t: Array, key: Array, own: Memory) -> tuple[Array, Array, Memory]:
        """The action, the planned actions [H, *m] (H = 0 for controllers that do not plan), and the next memory."""
        structure = self.structure()
        memory, jax_key = structure.whole(own), jr.wrap_key_data(key)
        inner, padded = self.controller, seen
        if isinstance(inner, FromObservation):
            inner, padded = inner.inner, jnp.pad(seen, (0, 1))
        if isinstance(inner, MPC):
            plan, after = inner.plan(padded, t, memory, key=jax_key)
            u, planned = plan.act(padded, 0), self._clipped(plan.us)
        else:
            u, after = self.controller.act(seen, t, memory, key=jax_key)
            planned = jnp.zeros((0, *self.fallback.shape), self.fallback.dtype)
        return u, planned, structure.arrays(after)

    def _clipped(self, us: Array) -> Array:
        return jax.vmap(self.actions.clip)(us).astype(self.fallback.dtype)

    def _valid(self, x: Array) -> Bool[Array, ""]:
        """Whether an observation can be used."""
        counts = self.observations.counts
        if counts is not None:
            limits = jnp.reshape(jnp.asarray(counts, x.dtype), x.shape)
            return jnp.all((x >= 0) & (x < limits))
        return jnp.all(jnp.isfinite(x)) if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.ones((), bool)

    def _whole(self, x: Array, past: Array | None) -> Array:
        return x if past is None else jnp.concatenate([x, past.astype(x.dtype)])

    def structure(self) -> "Structure":
        """How the controller's memory is made of arrays."""
        x = self._whole(self.observations.example(), self.past)
        made = eqx.filter_eval_shape(lambda c, x: c.init(x, key=jr.key(0)), self.controller, x)
        return Structure.of(made)

    def specs(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct, tuple]:
        """Shapes and dtypes of `x`, `t`, `key` and the memory.

        Raises:
            UsageError: the controller cannot run outside of this process.
        """
        x = jax.ShapeDtypeStruct(self.observations.shape, jnp.dtype(self.observations.dtype))
        key, t = jax.ShapeDtypeStruct((2,), jnp.uint32), jax.ShapeDtypeStruct((), jnp.int32)
        arrays, static = eqx.partition(self, eqx.is_array)
        memory = jax.eval_shape(lambda a, *given: eqx.combine(a, static).start(*given), arrays, x, key)
        memory = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in memory)
        after = jax.eval_shape(lambda a, *given: eqx.combine(a, static).step(*given), arrays, x, t, key, memory)[3]
        for name, old, new in zip(self.memory_names(), memory, after, strict=True):
            if (old.shape, old.dtype) != (new.shape, new.dtype):
                raise UsageError(f"The controller's {name} changes its shape, so it cannot be exported.")
        return x, t, key, memory


class PreciseRBF(eqx.Module):
    """An RBF network computed in float64 from arrays of float32.

    Its weights are up to 10^4 times as large as its value and nearly cancel, so every program that computes the sum
    in float32 rounds it differently, by up to 10^-3; in float64 all forms agree.
    """

    centers: Float[Array, "K f"]
    lengthscale: Float[Array, "m f"]
    beta: Float[Array, "m K"]
    beta_rest: Float[Array, "m K"]  # what rounding left out of `beta`

    @staticmethod
    def of(function: RBF) -> "PreciseRBF":
        """The same function, with weights of its rounded centers and lengthscales."""
        centers, targets = np.asarray(function.centers, np.float32), np.asarray(function.targets, np.float64)
        lengthscale = np.exp(np.asarray(function.log_lengthscale, np.float64)).astype(np.float32)
        with jax.enable_x64(True):
            exact = (centers.astype(np.float64), targets, np.log(lengthscale.astype(np.float64)))
            beta = np.asarray(jax.jit(lambda *parts: RBF(*parts).prepared().beta)(*exact))
        rounded = beta.astype(np.float32)
        return PreciseRBF(*map(jnp.asarray, (centers, lengthscale, rounded, (beta - rounded).astype(np.float32))))

    def __call__(self, s: Float[Array, "f"]) -> Gaussian:
        """The value, as a Gaussian with zero variance."""
        with jax.enable_x64(True):
            x, centers, lengthscale, beta, rest = (
                a.astype(jnp.float64) for a in (s, self.centers, self.lengthscale, self.beta, self.beta_rest)
            )
            value = RBFNetwork(centers, lengthscale, beta + rest)(x).mean.astype(s.dtype)
        return Gaussian.point(value)


class Prepared(eqx.Module):
    """A `SquashedPolicy` without memory: what it computes at the start of an episode is a part of it."""

    policy: SquashedPolicy
    function: Any  # `policy.function.prepared()`

    @staticmethod
    def of(policy: SquashedPolicy) -> "Prepared":
        """The same policy."""
        if isinstance(policy.function, RBF):
            return Prepared(policy, PreciseRBF.of(policy.function))
        return Prepared(policy, eqx.filter_jit(lambda function: function.prepared())(policy.function))

    def init(self, x0: Shaped[Array, "*n"], *, key: Any) -> tuple[()]:
        """No memory."""
        del x0, key
        return ()

    def act(self, x: Shaped[Array, "*n"], t: Any, carry: tuple[()], *, key: Any) -> tuple[Array, tuple[()]]:
        """The policy's action."""
        return self.policy.act(x, t, self.function, key=key)[0], carry


def deployable(
    controller: Controller,
    observations: Observations,
    actions: Box | Discrete,
    delay: Delay | None,
    fallback: Any = None,
) -> Deployable:
    """A controller with its fallback action, by default the middle of the limits.

    Args:
        controller: for observations with past actions, where there is a delay.
        observations: of the environment, with past actions.
        actions: the limits.
        delay: of the environment.
        fallback: the action where no valid one can be computed.
    Raises:
        UsageError: `fallback` is not an allowed action.
    """
    resting = _resting(actions)
    if isinstance(controller, SquashedPolicy):
        controller = Prepared.of(controller)
    if fallback is not None:
        given = np.asarray(fallback, np.float32 if isinstance(actions, Box) else np.int32)
        if given.shape != resting.shape or not np.array_equal(np.asarray(actions.clip(given)), given):
            raise UsageError(
                f"fallback must be an action within the limits, of {resting.size} numbers; got {fallback}."
            )
        resting = jnp.asarray(given)
    if delay is None:
        return Deployable(controller, observations, actions, resting, None)
    own = dataclasses.replace(observations, shape=(delay.size,))
    return Deployable(controller, own, actions, resting, delay.resting(actions), delay)


def _resting(actions: Box | Discrete) -> Array:
    u = jnp.asarray(resting_action(actions))
    return u.astype(jnp.float32 if isinstance(actions, Box) else jnp.int32)


@dataclasses.dataclass(frozen=True)
class Structure:
    """The memory of a controller as a tuple of arrays, and back; random keys become their words."""

    leaves: tuple[Any, ...]  # shapes and dtypes of arrays, other leaves themselves
    tree: Any
    paths: list[Any]  # of the arrays

    @staticmethod
    def of(made: Any) -> "Structure":
        """From shapes and dtypes."""
        named, tree = jax.tree_util.tree_flatten_with_path(made)
        paths = [(path, leaf) for path, leaf in named if isinstance(leaf, jax.ShapeDtypeStruct)]
        return Structure(tuple(leaf for _, leaf in named), tree, paths)

    def arrays(self, memory: Any) -> Memory:
        """The arrays, with the dtypes of the start."""
        leaves = jax.tree.leaves(memory)
        pairs = zip(leaves, self.leaves, strict=True)
        return tuple(
            _plain(a).astype(_plain_dtype(spec)) for a, spec in pairs if isinstance(spec, jax.ShapeDtypeStruct)
        )

    def whole(self, arrays: Memory) -> Any:
        """The memory."""
        left = list(arrays)
        leaves = [
            _restored(left.pop(0), leaf) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf for leaf in self.leaves
        ]
        return jax.tree.unflatten(self.tree, leaves)


def _arrays(memory: Any) -> Memory:
    """The arrays of a memory, without weak types."""
    leaves = [leaf for leaf in jax.tree.leaves(memory) if eqx.is_array(leaf)]
    return tuple(_plain(leaf).astype(_plain(leaf).dtype) for leaf in leaves)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Array:
    return jr.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)


def _plain_dtype(spec: Any) -> Any:
    return jnp.uint32 if _is_key(spec) else spec.dtype


def _restored(array: Array, spec: Any) -> Array:
    return jr.wrap_key_data(array) if _is_key(spec) else array


def _first(past: Array | None) -> Memory:
    return () if past is None else (past,)


def _has_nan(memory: Memory) -> Bool[Array, ""]:
    real = [jnp.any(jnp.isnan(leaf)) for leaf in memory if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.any(jnp.stack(real)) if real else jnp.zeros((), bool)
