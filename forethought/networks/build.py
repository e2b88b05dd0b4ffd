"""The network that fits the observations: convolutional for images, a multilayer perceptron for all others."""

from collections.abc import Callable

from jaxtyping import PRNGKeyArray

from forethought.core import UsageError
from forethought.networks.convolution import Convolution, Convolutions
from forethought.networks.inputs import Inputs
from forethought.networks.mlp import MLP, Initializer

Network = MLP | Convolution


def network_for(
    inputs: Inputs,
    outputs: int,
    *,
    hidden: tuple[int, ...],
    activation: Callable,
    initializer: Initializer | None = None,
    last: Initializer | None = None,
    who: str,
    key: PRNGKeyArray,
) -> Network:
    """A network from encoded observations to `outputs` numbers; arguments as in `MLP.init`.

    Images get `Convolution`, which has its own layers with ReLU and ignores `hidden` and `activation`.

    Raises:
        UsageError: observations that no network here takes; `who` is the learner, for the message.
    """
    if not inputs.observations.is_image:
        (size,) = inputs.shape
        return MLP.init(
            size, outputs, hidden=hidden, activation=activation, initializer=initializer, last=last, key=key
        )
    return convolution_for(inputs, outputs, initializer=initializer, last=last, who=who, key=key)


def convolution_for(
    inputs: Inputs,
    outputs: int | None,
    *,
    convolutions: Convolutions | None = None,
    hidden: tuple[int, ...] | None = None,
    initializer: Initializer | None = None,
    last: Initializer | None = None,
    who: str,
    key: PRNGKeyArray,
) -> Convolution:
    """A convolutional network from encoded images; arguments as in `Convolution.init`.

    Raises:
        UsageError: images of a shape that it does not take; `who` is the learner, for the message.
    """
    remedy = "flatten them with gymnasium.wrappers.FlattenObservation"
    if len(inputs.shape) > 3:
        raise UsageError(f"{who}: observations of {inputs.observations} have more axes than images: {remedy}.")
    try:
        return Convolution.init(
            inputs.shape,
            outputs,
            convolutions=convolutions,
            hidden=hidden,
            initializer=initializer,
            last=last,
            key=key,
        )
    except ValueError as problem:
        raise UsageError(f"{who}: {str(problem).rstrip('.')}: {remedy}.") from problem
