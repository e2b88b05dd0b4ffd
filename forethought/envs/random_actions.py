"""A controller with random actions, for checks of environments."""

import equinox as eqx
from jaxtyping import Array, PRNGKeyArray

from forethought.core import Box, Discrete


class RandomActions(eqx.Module):
    """Actions drawn uniformly from the action space."""

    space: Box | Discrete

    def init(self, x0: Array, *, key: PRNGKeyArray) -> tuple:
        """No memory."""
        del x0, key
        return ()

    def act(self, x: Array, t: Array, carry: tuple, *, key: PRNGKeyArray) -> tuple[Array, tuple]:
        """One action."""
        del x, t
        return self.space.sample(key=key), carry
