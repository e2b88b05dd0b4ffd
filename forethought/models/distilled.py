"""One network for the predictive distribution of an ensemble: mean, aleatoric variance and epistemic variance.

Symbols: z [d] an input, y [e] an output; the teacher's functions k = 1 .. K predict N(m_k(z), a_k(z)), coordinate by
coordinate.  All below are in units of the standard deviation of each output.
    teacher      m = mean_k m_k,  a = mean_k a_k (aleatoric variance),  s = var_k m_k (epistemic variance)
    student      mu(z), alpha(z), sigma(z): mean, aleatoric and epistemic variance
                 predictive distribution     N(mu, alpha + sigma)
                 one sampled function        N(mu + sqrt(sigma) eps, alpha),  eps ~ N(0, I) [e], the same for all z
    loss         KL(N(m, s) || N(mu, sigma)) + KL(N(0, a) || N(0, alpha)),  averaged over outputs
The loss is the divergence of the joint distributions of a function's value and an outcome around it, so that the two
kinds of variance stay apart.  Its optimum has sigma = s + (m - mu)^2: the student's own error counts as epistemic.
Source: the two kinds of variance: Depeweg et al. (2018), Decomposition of uncertainty in Bayesian deep learning,
section 3, with variances; distillation of a distribution of predictions into one network: Malinin et al. (2020),
Ensemble distribution distillation.
Differs: Gaussians in place of Malinin et al.'s Dirichlet.  A function sampled from the student errs in one direction
everywhere, whereas the members of the ensemble err in different directions in different places.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import ContinuousConditional, DiagonalGaussian, Result, draw_many
from forethought.core.settings import settings
from forethought.networks.descent import decaying_adam, descend
from forethought.networks.gaussian_mlp import INITIAL_LIMITS, silu
from forethought.networks.mlp import MLP
from forethought.networks.normalizer import Normalizer

LEAST_VARIANCE = 1e-8  # in units of the squared standard deviation of an output
MARGIN = 1.0  # distance of the limits of the log-variances from the teacher's smallest and largest


class Decomposition(eqx.Module):
    """A predictive distribution with its two kinds of uncertainty kept apart."""

    mean: Float[Array, "*N e"]
    aleatoric: Float[Array, "*N e"]  # variance of the noise
    epistemic: Float[Array, "*N e"]  # variance of the function's value


def decompose(model: ContinuousConditional, z: Float[Array, "N d"], *, draws: int, key: PRNGKeyArray) -> Decomposition:
    """The predictive distribution at N inputs from `draws` sampled functions; for an ensemble, its members.

    An ensemble ignores `draws` and `key`.
    """
    count = getattr(model, "member_count", draws)
    functions, _ = draw_many(model, count, key=key)
    each = eqx.filter_vmap(lambda f: jax.vmap(lambda row: _moments(f(row)))(z))(functions)
    return Decomposition(jnp.mean(each[0], axis=0), jnp.mean(each[1], axis=0), jnp.var(each[0], axis=0))


def _moments(y: Any) -> tuple[Float[Array, "e"], Float[Array, "e"]]:
    return y.mean, y.std**2


class DistilledNetwork(eqx.Module):
    """A fitted student, in the units of the data."""

    layers: MLP  # mean, log aleatoric variance, log epistemic variance
    inputs: Normalizer
    outputs: Normalizer
    low: Float[Array, "k"]  # limits of the log-variances [2 e], aleatoric before epistemic
    high: Float[Array, "k"]

    @staticmethod
    def init(d: int, e: int, *, hidden: tuple[int, ...], key: PRNGKeyArray) -> "DistilledNetwork":
        """Random weights, no scaling."""
        layers = MLP.init(d, 3 * e, hidden=hidden, activation=silu, key=key)
        # Explicit dtypes: without them the arrays are weakly typed, and the second fit would compile again.
        limits = (jnp.full(2 * e, limit, layers.biases[0].dtype) for limit in INITIAL_LIMITS)
        return DistilledNetwork(layers, Normalizer.identity(d), Normalizer.identity(e), *limits)

    def standardized(self, z: Float[Array, "d"]) -> tuple[Float[Array, "e"], Float[Array, "e"], Float[Array, "e"]]:
        """Mean, log aleatoric variance and log epistemic variance, in units of the outputs' standard deviation."""
        out, e = self.layers(self.inputs(z)), self.outputs.mean.shape[0]
        # A sigmoid between the limits: it costs less than two softplus, and planners evaluate it at every step.
        log_vars = self.low + (self.high - self.low) * jax.nn.sigmoid(out[e:])
        return out[:e], log_vars[:e], log_vars[e:]

    def decomposed(self, z: Float[Array, "d"]) -> Decomposition:
        """The predictive distribution with its two variances."""
        mean, aleatoric, epistemic = self.standardized(z)
        mean = self.outputs.mean + self.outputs.std * mean
        return Decomposition(mean, jnp.exp(aleatoric) * self.outputs.std**2, jnp.exp(epistemic) * self.outputs.std**2)

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The predictive distribution of y [e], with the uncertainty about the function integrated out."""
        told = self.decomposed(z)
        return DiagonalGaussian(told.mean, jnp.sqrt(told.aleatoric + told.epistemic))

    def draw(self, *, key: PRNGKeyArray) -> "SampledFunction":
        """One function: the same number of standard deviations from the mean at all inputs."""
        return SampledFunction(self, jr.normal(key, self.outputs.mean.shape))

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple["SampledFunction", int]:
        """`count` functions, stacked, each for one particle.

        In each output the deviations are one from each of `count` equally probable intervals, which makes averages
        over particles more precise; each alone is distributed like that of `draw`.  A single function is the mean:
        no average corrects its deviation, which would mislead a plan in one direction at all its steps.
        """
        place_key, order_key = jr.split(key)
        e = self.outputs.mean.shape[0]
        strata = jr.permutation(order_key, jnp.tile(jnp.arange(count)[:, None], (1, e)), axis=0, independent=True)
        eps = ndtri((strata + jr.uniform(place_key, (count, e), minval=1e-6, maxval=1 - 1e-6)) / count)
        eps = jnp.zeros_like(eps) if count == 1 else eps
        copies = jax.tree.map(lambda a: jnp.broadcast_to(a, (count, *a.shape)), self)
        return SampledFunction(copies, eps), 1


class SampledFunction(eqx.Module):
    """A function sampled from a student: its noise is aleatoric only."""

    network: DistilledNetwork
    eps: Float[Array, "*draws e"]  # deviation from the mean, in epistemic standard deviations

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The distribution of y [e]."""
        mean, aleatoric, epistemic = self.network.standardized(z)
        outputs = self.network.outputs
        mean = outputs.mean + outputs.std * (mean + jnp.exp(0.5 * epistemic) * self.eps)
        return DiagonalGaussian(mean, outputs.std * jnp.exp(0.5 * aleatoric))

    def draw(self, *, key: PRNGKeyArray) -> "SampledFunction":
        """Itself."""
        del key
        return self


class DistillationReport(eqx.Module):
    """How well the student imitates."""

    first: Float[Array, ""]  # loss of the first minibatch, nats
    last: Float[Array, ""]  # mean loss of the last tenth of the updates, nats
    error: Float[Array, ""]  # root mean square of m - mu, in units of the outputs' standard deviation

    @property
    def result(self) -> Array:
        """Whether the student is usable."""
        return jnp.where(jnp.isfinite(self.last), Result.converged, Result.not_finite)

    @property
    def metrics(self) -> dict[str, float]:
        """For the record of a run."""
        return {"distillation_loss": float(self.last), "distillation_error": float(self.error)}


@settings
class DistilledModel:
    """Settings of a student of a model's predictive distribution."""

    hidden: tuple[int, ...] | None = None  # units in each hidden layer; none: those of one of the teacher's networks
    updates: int = 40_000  # gradient steps in one fit
    batch: int = 256  # inputs in a minibatch
    learning_rate: float = 5e-3  # first step size of Adam; it decreases to zero
    draws: int = 32  # functions sampled from a teacher that is not an ensemble

    def __post_init__(self):
        """Refuse settings out of range."""
        for name in ("updates", "batch", "learning_rate", "draws"):
            if not getattr(self, name) > 0:
                raise ValueError(f"DistilledModel.{name} must be positive, got {getattr(self, name)}.")
        if self.hidden is not None and (not self.hidden or min(self.hidden) < 1):
            raise ValueError(f"DistilledModel.hidden needs a layer of at least one unit, got {self.hidden}.")

    def init(self, d: int, e: int, *, like: tuple[int, ...] = (200, 200), key: PRNGKeyArray) -> DistilledNetwork:
        """The student before it is fitted; `like`: hidden layers if the settings name none."""
        return _init(self.hidden or like, d, e, key)

    def fit(
        self,
        student: DistilledNetwork,
        teacher: ContinuousConditional,
        z: Float[Array, "N d"],
        size: Int[Array, ""] | int,
        *,
        key: PRNGKeyArray,
    ) -> tuple[DistilledNetwork, DistillationReport]:
        """The student fitted to the teacher's predictions at the first `size` inputs; compiled once for each N."""
        return _fit(self, student, teacher, z, jnp.asarray(size), key)


@eqx.filter_jit
def _init(hidden: tuple[int, ...], d: int, e: int, key: PRNGKeyArray) -> DistilledNetwork:
    return DistilledNetwork.init(d, e, hidden=hidden, key=key)


@eqx.filter_jit
def _fit(how: DistilledModel, student: DistilledNetwork, teacher: Any, z: Array, size: Array, key: PRNGKeyArray) -> Any:
    draw_key, fit_key = jr.split(key)
    told = decompose(teacher, z, draws=how.draws, key=draw_key)
    used = (jnp.arange(z.shape[0]) < size).astype(z.dtype)
    inputs, outputs = Normalizer.of_inputs(z, used), Normalizer.of_outputs(told.mean, used)
    scale = outputs.std[None] ** 2
    targets = jax.vmap(outputs)(told.mean), *(jnp.maximum(v / scale, LEAST_VARIANCE) for v in _variances(told))
    low, high = _limits(targets[1:], used)
    rows = jax.vmap(inputs)(z)
    blank = Normalizer.identity(z.shape[1]), Normalizer.identity(outputs.std.shape[0])

    def loss(layers: MLP, key: PRNGKeyArray) -> tuple[Array, Array]:
        at = jr.randint(key, (how.batch,), 0, size)
        network = DistilledNetwork(layers, *blank, low, high)
        each, errors = jax.vmap(lambda row, *target: divergence(network.standardized(row), target))(
            rows[at], *(target[at] for target in targets)
        )
        return jnp.mean(each), jnp.mean(errors)

    optimizer = decaying_adam(how.learning_rate, how.updates)
    layers, losses, errors = descend(loss, student.layers, optimizer=optimizer, keys=jr.split(fit_key, how.updates))
    last = max(1, how.updates // 10)
    report = DistillationReport(losses[0], jnp.mean(losses[-last:]), jnp.sqrt(jnp.mean(errors[-last:])))
    return DistilledNetwork(layers, inputs, outputs, low, high), report


def divergence(student: tuple[Array, ...], teacher: tuple[Array, ...]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The loss at one input, in nats, and the mean squared error of the means, each averaged over outputs.

    `student`: mean and log-variances [e]; `teacher`: mean and variances [e]; aleatoric before epistemic.
    """
    mu, log_alpha, log_sigma = student
    m, a, s = teacher
    gap = (m - mu) ** 2
    noise = a * jnp.exp(-log_alpha) - 1 - jnp.log(a) + log_alpha
    function = (s + gap) * jnp.exp(-log_sigma) - 1 - jnp.log(s) + log_sigma
    return 0.5 * jnp.mean(noise + function), jnp.mean(gap)


def _variances(told: Decomposition) -> tuple[Array, Array]:
    return told.aleatoric, told.epistemic


def _limits(variances: tuple[Array, ...], used: Float[Array, "N"]) -> tuple[Float[Array, "k"], Float[Array, "k"]]:
    """The range of the teacher's log-variances over the used rows, and a margin."""
    logs = jnp.log(jnp.concatenate(variances, axis=1))
    low = jnp.min(jnp.where(used[:, None] > 0, logs, jnp.inf), axis=0)
    high = jnp.max(jnp.where(used[:, None] > 0, logs, -jnp.inf), axis=0)
    return low - MARGIN, high + MARGIN
