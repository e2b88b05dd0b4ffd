"""Any conditional distribution as a controller."""

import equinox as eqx
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from forethought.core import Conditional, Controller, HasMode, UsageError


class Acting(eqx.Module):
    """A controller without memory: its action is a sample or the `mode` of `policy(x)`, a distribution over actions.

    Samples are for exploration and policy gradients, the mode is for evaluation.
    """

    policy: Conditional
    mode: bool = eqx.field(static=True, default=False)  # take the most probable action instead of a sample

    def init(self, x0: Shaped[Array, "*n"], *, key: PRNGKeyArray) -> tuple[()]:
        """No memory."""
        del x0, key
        return ()

    def act(
        self, x: Shaped[Array, "*n"], t: Int[Array, ""], carry: tuple[()], *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], tuple[()]]:
        """One action; the environment clips it to its limits."""
        del t
        actions = self.policy(x)
        if not self.mode:
            return actions.sample(key=key), carry
        if not isinstance(actions, HasMode):
            raise UsageError(f"{type(actions).__name__} has no mode: let Acting sample.")
        return actions.mode, carry


def sampling(controller: Controller) -> Controller:
    """The controller that draws its actions from the policy, as in training, instead of its most probable ones.

    Raises:
        UsageError: the controller is not that of a policy with a distribution over actions.
    """
    if not isinstance(controller, Acting):
        raise UsageError(
            f"a {type(controller).__name__} has no distribution over actions to sample from: leave out `sampled`."
        )
    return Acting(controller.policy, mode=False)
