"""Which inputs each predicted change depends on.

Symbols: N rows of data; inputs are the n coordinates of the state and the m actions; outputs are the predicted changes
of the n coordinates in one step.  S[i, j] is the share of the variance of output i that needs input j: the total-effect
index of Sobol, 0 if the input has no effect, 1 if the output depends on it alone.  It is estimated by shuffling the
input among the rows: S = E[(f(z) - f(z with input j shuffled))^2] / (2 Var f(z)).  Inputs that interact count
for each of them, so a row may add up to more than 1.
Source: Jansen, Analysis of variance designs for model output (1999), equation 4 for the total effect.
Differs: the inputs of real data are correlated; a shuffled input can give states that never occur, where the model
extrapolates.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped
from matplotlib.axes import Axes

from forethought.core import Dynamics
from forethought.core.data import AnyArray
from forethought.dynamics.space import StateSpace
from forethought.report.plots import PAPER, picture

ROWS = 1024  # at most, evenly spread over the data


def sensitivity(
    dynamics: Dynamics,
    space: StateSpace,
    x: Float[AnyArray, "N s"],
    u: Shaped[AnyArray, "N *m"],
    *,
    key: PRNGKeyArray,
) -> Float[np.ndarray, "n k"]:
    """The share S of the variance of each predicted change that needs each input; k = n + m, an action of m numbers.

    Args:
        dynamics: its mean is examined; states may have further coordinates after those of `space`.
        space: of the states.
        x: states of real data, s = n, or n + 1 with a learned reward.
        u: actions taken in them.
        key: of the shuffles.
    """
    places = np.unique(np.linspace(0, len(x) - 1, min(ROWS, len(x))).astype(int))
    x, u = jnp.asarray(np.asarray(x)[places]), jnp.asarray(np.asarray(u)[places])
    return np.asarray(_shares(dynamics, space, x, u, key))


@eqx.filter_jit
def _shares(dynamics: Dynamics, space: StateSpace, x: Array, u: Array, key: PRNGKeyArray) -> Float[Array, "n k"]:
    actions = u[:, None] if u.ndim == 1 else u
    inputs = jnp.concatenate([x, actions.astype(x.dtype)], axis=1)

    def changes(inputs: Float[Array, "N k"]) -> Float[Array, "N n"]:
        u_row = inputs[:, x.shape[1] :].astype(u.dtype)
        rows = inputs[:, : x.shape[1]], u_row.reshape(u.shape)
        mean = jax.vmap(lambda x, u: dynamics(x, u, jnp.int32(0)).mean[: space.size])(*rows)
        return jax.vmap(space.difference)(mean, rows[0][:, : space.size])

    known = changes(inputs)
    variance = jnp.var(known, axis=0)

    def without(j: Array, key: PRNGKeyArray) -> Float[Array, "n"]:
        shuffled = inputs.at[:, j].set(jr.permutation(key, inputs[:, j]))
        return jnp.mean((changes(shuffled) - known) ** 2, axis=0)

    k = inputs.shape[1]
    effects = jax.lax.map(lambda at: without(*at), (jnp.arange(k), jr.split(key, k)))
    return jnp.where(variance[:, None] > 0, effects.T / (2 * jnp.where(variance > 0, variance, 1)[:, None]), 0.0)


@picture(width=7.2, height=4.2)
def sensitivity_map(axes: Axes, shares: Float[np.ndarray, "n k"], outputs: list[str], inputs: list[str]) -> None:
    """The shares as a table of shaded cells: a row for each predicted change, a column for each input."""
    axes.imshow(np.clip(shares, 0, 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(outputs)), [f"change of {name}" for name in outputs])
    axes.set_xticks(range(len(inputs)), inputs, rotation=35, ha="right")
    axes.grid(visible=False)
    if shares.size <= 200:
        for (i, j), share in np.ndenumerate(shares):
            color = PAPER if share > 0.5 else "#1b1f26"
            axes.text(j, i, f"{share:.2f}", ha="center", va="center", fontsize=8, color=color)
