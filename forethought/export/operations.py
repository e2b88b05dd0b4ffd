"""A policy as a list of elementary operations, from which its NumPy and its ONNX form are made.

An operation is a name, plain parameters and named arrays; `standalone.py` computes them with NumPy, `onnx_graph.py`
writes them as nodes.  Each acts on the value of the one before it; the first on the observation.
"""

from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from forethought.core import LinearGaussian
from forethought.export.deployable import Prepared
from forethought.networks.build import Network
from forethought.networks.convolution import Convolution
from forethought.networks.gaussian_mlp import silu
from forethought.networks.inputs import CLIP, Inputs
from forethought.networks.mlp import MLP
from forethought.policies.acting import Acting
from forethought.policies.epsilon_greedy import EpsilonGreedy
from forethought.policies.linear_gaussian import LinearGaussianController
from forethought.policies.nearest import NearestController
from forethought.policies.network import CategoricalPolicy, GaussianPolicy, SquashedGaussianPolicy
from forethought.policies.observing import Observing
from forethought.policies.squashed import NetworkFunction

ACTIVATIONS: dict[Any, str] = {jnp.tanh: "tanh", jax.nn.relu: "relu", jax.nn.silu: "silu", silu: "silu"}


class NotExpressibleError(Exception):
    """A controller that is no policy of these operations; the message says what it is instead."""


@dataclass
class Operations:
    """The operations in order, and their arrays by name."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, name: str, arrays: dict[str, Any] | None = None, **parameters: Any) -> None:
        """One more operation; real numbers become float32."""
        known = {}
        for role, array in (arrays or {}).items():
            known[role] = f"a{len(self.arrays)}"
            given = np.asarray(array)
            self.arrays[known[role]] = given.astype(np.float32) if np.issubdtype(given.dtype, np.floating) else given
        self.steps.append({"name": name, **({"arrays": known} if known else {}), **parameters})


def operations_of(controller: Any) -> Operations:
    """The operations that compute the action of a policy, before it is clipped to its limits.

    Raises:
        NotExpressibleError: the controller plans, or is of a kind that is not known here.
    """
    found = Operations()
    _write(controller, found)
    return found


@singledispatch
def _write(controller: Any, to: Operations) -> None:
    """Add the operations of a controller or policy."""
    del to
    raise NotExpressibleError(f"a {type(controller).__name__} is not a policy of known operations")


@_write.register
def _acting(controller: Acting, to: Operations) -> None:
    if not controller.mode:
        raise NotExpressibleError("this policy samples its actions")
    _write(controller.policy, to)


@_write.register
def _observing(controller: Observing, to: Operations) -> None:
    view = controller.view
    if view.history > 1:
        raise NotExpressibleError("this policy sees the observations of several steps")
    if view.coordinates is not None:
        to.add("features", plain=[int(i) for i in view.coordinates], angles=[])
    _write(controller.policy, to)


@_write.register
def _gaussian(policy: GaussianPolicy, to: Operations) -> None:
    _inputs(policy.inputs, to)
    _network(policy.network, to)
    to.add("scale", {"factor": policy.box.half_range, "offset": policy.box.center})


@_write.register
def _squashed_gaussian(policy: SquashedGaussianPolicy, to: Operations) -> None:
    _inputs(policy.inputs, to)
    _network(policy.network, to, outputs=policy.box.size)  # the means; the rest are standard deviations
    to.add("tanh")
    to.add("scale", {"factor": policy.box.half_range, "offset": policy.box.center})


@_write.register
def _categorical(policy: CategoricalPolicy, to: Operations) -> None:
    _inputs(policy.inputs, to)
    _network(policy.network, to)
    to.add("argmax")


@_write.register
def _table(policy: EpsilonGreedy, to: Operations) -> None:
    if float(policy.epsilon) != 0:
        raise NotExpressibleError("this policy samples its actions")
    counts = policy.observations.counts
    assert counts is not None  # the states of a table have numbers
    strides = [int(np.prod(counts[i + 1 :])) for i in range(len(counts))]
    to.add("table", {"values": policy.q, "strides": np.asarray(strides, np.int64)})
    to.add("argmax")


@_write.register
def _prepared(controller: Prepared, to: Operations) -> None:
    policy, function = controller.policy, controller.function
    space = policy.space
    plain = [i for i in range(space.size) if i not in space.angles]
    to.add("features", plain=plain, angles=list(space.angles))
    to.add("standardize", {"mean": jnp.zeros_like(policy.scale), "std": policy.scale})
    if isinstance(function, LinearGaussian):
        to.add("dense", {"weight": function.F.T, "bias": function.f})
    elif isinstance(function, NetworkFunction):
        layers = function.layers
        _layers(layers.weights, layers.biases, "silu", to, outputs=policy.action_space.size)
    else:
        weights = {"weights": function.beta, "weights_rest": function.beta_rest}
        to.add("rbf", {"centers": function.centers, "lengthscale": function.lengthscale, **weights})
    to.add("sine_squash")
    to.add("scale", {"factor": policy.action_space.half_range, "offset": policy.action_space.center})


@_write.register
def _linear_gaussian(controller: LinearGaussianController, to: Operations) -> None:
    if controller.explore:
        raise NotExpressibleError("this policy samples its actions")
    n = controller.policy.F.shape[-1]
    _time_varying(jax.tree.map(lambda a: a[None], controller.policy), np.zeros((1, n)), np.ones(n), to)


@_write.register
def _nearest(controller: NearestController, to: Operations) -> None:
    _time_varying(controller.policies, controller.starts, controller.scale, to)


def _time_varying(policies: LinearGaussian, starts: Any, scale: Any, to: Operations) -> None:
    to.add("time_varying", {"F": policies.F, "f": policies.f, "starts": starts, "scale": scale})


def _inputs(inputs: Inputs, to: Operations) -> None:
    """What `Inputs` does."""
    about = inputs.observations
    if about.counts is not None:
        to.add("one_hot", counts=[int(n) for n in np.ravel(about.counts)])
    elif about.is_image:
        _image(inputs, to)
    else:
        plain = [i for i in range(about.size) if i not in about.angles]
        to.add("features", plain=plain, angles=list(about.angles))
    if inputs.moments is not None:
        moments = inputs.moments
        to.add("standardize", {"mean": moments.mean, "std": moments.std})
        size = moments.mean.shape[0]
        to.add("clip", {"low": np.full(size, -CLIP), "high": np.full(size, CLIP)})


def _image(inputs: Inputs, to: Operations) -> None:
    """Channels last, and divided by the greatest value of integers."""
    about = inputs.observations
    shape = (*about.shape, 1) if len(about.shape) == 2 else about.shape
    axes = [1, 2, 0] if shape[0] < shape[-1] else [0, 1, 2]
    divisor = 1.0 if about.dtype.startswith("float") else float(np.iinfo(about.dtype).max)
    to.add("image", shape=list(shape), axes=axes, divisor=divisor)


def _network(network: Network, to: Operations, outputs: int | None = None) -> None:
    """A network; only its first `outputs`, where that is given."""
    if isinstance(network, Convolution):
        for kernel, bias, stride in zip(network.kernels, network.biases, network.strides, strict=True):
            to.add("convolution", {"kernel": kernel, "bias": bias}, stride=int(stride))
        to.add("flatten")
        network = network.head
    if not isinstance(network, MLP) or network.activation not in ACTIVATIONS:
        raise NotExpressibleError(f"a {type(network).__name__} with this activation is not known")
    _layers(network.weights, network.biases, ACTIVATIONS[network.activation], to, outputs=outputs)


def _layers(weights: list, biases: list, activation: str, to: Operations, outputs: int | None = None) -> None:
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        last = i == len(weights) - 1
        to.add("dense", {"weight": weight[:, :outputs] if last else weight, "bias": bias[:outputs] if last else bias})
        if not last:
            to.add(activation)
