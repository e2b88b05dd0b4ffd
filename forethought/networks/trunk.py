"""The part of a network that several outputs share: it maps an image to features."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from forethought.core import Observations, UsageError
from forethought.networks.build import convolution_for
from forethought.networks.convolution import Convolution, Convolutions
from forethought.networks.inputs import Inputs
from forethought.networks.mlp import orthogonal


class Trunk(eqx.Module):
    """`relu(g(encoding of x))`, g a convolutional network; heads are functions of these features."""

    inputs: Inputs
    network: Convolution

    @staticmethod
    def init(
        observations: Observations,
        *,
        convolutions: Convolutions | None = None,
        units: int | None = None,
        who: str,
        key: PRNGKeyArray,
    ) -> "Trunk":
        """A trunk for images.

        Args:
            observations: images.
            convolutions: which layers; by default by the size of the images, see `Convolution`.
            units: number of features; by default that of `Convolution`'s hidden layer.
            who: the learner, for messages.
            key: random key.
        Raises:
            UsageError: observations that are not images.
        """
        if not observations.is_image:
            raise UsageError(f"{who}: a shared trunk is for images; these are observations of {observations}.")
        inputs = Inputs.of(observations, normalize=False)
        gain = orthogonal(2**0.5)  # as in CleanRL
        network = convolution_for(
            inputs,
            units,
            convolutions=convolutions,
            hidden=(),
            initializer=gain,
            last=gain,
            who=who,
            key=key,
        )
        return Trunk(inputs, network)

    @property
    def size(self) -> int:
        """Number of features."""
        return self.network.head.biases[-1].shape[0]

    def __call__(self, x: Shaped[Array, "*n"]) -> Float[Array, "f"]:
        """The features of one image."""
        return jax.nn.relu(self.network(self.inputs(x)))
