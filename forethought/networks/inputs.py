"""What a network sees of an observation: finite numbers of order 1.

real numbers [n]        all but the angles, then sines and cosines of the angles; standardized where `moments` are kept
integers with counts    one-hot, one after the other
images of integers      divided by the greatest value of their dtype; shape kept
images of booleans      0 and 1
images of real numbers  as they are
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from forethought.core import Observations
from forethought.networks.running_moments import RunningMoments

CLIP = 10.0  # standard deviations; Stable-Baselines3, VecNormalize, and CleanRL


class Inputs(eqx.Module):
    """The encoding of observations; `moments` of the features, for vectors only, are updated by `seen`."""

    observations: Observations
    moments: RunningMoments | None

    @staticmethod
    def of(observations: Observations, *, normalize: bool) -> "Inputs":
        """Encode these observations; with `normalize`, vectors are standardized by running moments."""
        standardized = normalize and observations.is_vector
        size = observations.size + len(observations.angles)
        return Inputs(observations, RunningMoments.init(size) if standardized else None)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what a network sees."""
        if self.observations.counts is not None:
            return (sum(self.observations.counts),)
        if self.observations.is_image:
            return self.observations.shape
        return (self.observations.size + len(self.observations.angles),)

    def __call__(self, x: Shaped[Array, "*n"]) -> Float[Array, "*f"]:
        """The encoding of one observation; no gradient reaches the moments."""
        features = self._features(x)
        if self.moments is None:
            return features
        moments = jax.lax.stop_gradient(self.moments)
        return jnp.clip((features - moments.mean) / moments.std, -CLIP, CLIP)

    def seen(self, xs: Shaped[Array, "N *n"]) -> "Inputs":
        """With the moments of N more observations."""
        if self.moments is None:
            return self
        return Inputs(self.observations, self.moments.update(jax.vmap(self._features)(xs)))

    def _features(self, x: Shaped[Array, "*n"]) -> Float[Array, "*f"]:
        about = self.observations
        if about.counts is not None:
            parts = [jax.nn.one_hot(i, n) for i, n in zip(x.reshape(-1), about.counts, strict=True)]
            return jnp.concatenate(parts)
        if about.is_image:
            whole = not about.dtype.startswith(("float", "bool"))
            greatest = float(jnp.iinfo(about.dtype).max) if whole else 1.0
            return x.astype(jnp.result_type(float)) / greatest
        if not about.angles:
            return x.reshape(-1).astype(jnp.result_type(float))
        angles = x[jnp.array(about.angles)]
        plain = [i for i in range(about.size) if i not in about.angles]
        return jnp.concatenate([x[jnp.array(plain, int)], jnp.sin(angles), jnp.cos(angles)])
