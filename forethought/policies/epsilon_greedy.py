"""The epsilon-greedy policy of a table of action values.

Source: Sutton & Barto (2018), section 2.2; ties are broken at random.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Categorical, Observations
from forethought.core.data import AnyArray


class EpsilonGreedy(eqx.Module):
    """With probability `epsilon` any action, otherwise one of the best, all of them equally probable.

    Symbols: S states, A actions.
    """

    q: Float[Array, "S A"]
    epsilon: float
    observations: Observations  # what the environment shows of a state

    def __call__(self, x: Int[AnyArray, "*d"]) -> Categorical:
        """The distribution over actions for observation `x`."""
        return Categorical(jnp.log(epsilon_greedy(self.q[self.observations.state_index(x)], self.epsilon)))

    def draw(self, *, key: PRNGKeyArray) -> "EpsilonGreedy":
        """Itself: the policy has no posterior."""
        del key
        return self


def epsilon_greedy(values: Float[Array, "A"], epsilon: float | Float[Array, ""]) -> Float[Array, "A"]:
    """The probability of each action, given its value."""
    best = values == jnp.max(values)
    return epsilon / values.shape[0] + (1 - epsilon) * best / jnp.sum(best)
