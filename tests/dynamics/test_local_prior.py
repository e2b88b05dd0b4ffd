"""Local fits with a global model as prior."""

import jax
import jax.numpy as jnp
import numpy as np

from forethought.core import Delta
from forethought.dynamics.linearize import linearize
from forethought.dynamics.local_prior import prior_from_model
from forethought.models.linear_gaussian import fit_linear_gaussian

n, m, T = 3, 2, 4


class Bent:
    """x' = tanh(A x + B u + 0.1 t)."""

    def __init__(self, rng):
        self.A, self.B = jnp.asarray(rng.normal(size=(n, n))), jnp.asarray(rng.normal(size=(n, m)))

    def __call__(self, x, u, t):
        return Delta(jnp.tanh(self.A @ x + self.B @ u + 0.1 * t))

    def draw(self, *, key):
        return self


def test_with_the_true_model_as_prior_two_rollouts_give_its_linearization():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        model = Bent(rng)
        mean = rng.normal(size=(T, n + m))
        z = jnp.asarray(mean[None] + 1e-5 * rng.normal(size=(2, T, n + m)))
        times = 5 + jnp.arange(T)
        y = jax.vmap(jax.vmap(lambda z, t: model(z[:n], z[n:], t).mean), (0, None))(z, times)
        fit = fit_linear_gaussian(z, y, prior_from_model(model, z, n, t0=5)).conditional
        true = jax.vmap(lambda z, t: linearize(model, z[:n], z[n:], t))(z.mean(0), times)
        np.testing.assert_allclose(fit.F, true.F, atol=1e-3)
        np.testing.assert_allclose(fit.f, true.f, atol=1e-3)


def test_directions_without_variation_have_the_slope_of_the_model_and_others_follow_the_rollouts():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        model = Bent(rng)
        z = np.repeat(rng.normal(size=(1, T, n + m)), 6, axis=0)
        z[:, :, 0] += rng.normal(size=(6, T))  # only the first coordinate varies
        y = rng.normal(size=(1, T, n)) + 5.0 * z[:, :, :1]
        fit = fit_linear_gaussian(
            jnp.asarray(z), jnp.asarray(y), prior_from_model(model, jnp.asarray(z), n, strength=1e-3)
        )
        true = jax.vmap(lambda z: linearize(model, z[:n], z[n:], jnp.array(0)))(jnp.asarray(z.mean(0)))
        np.testing.assert_allclose(fit.conditional.F[0, :, 1:], true.F[0, :, 1:], atol=1e-2)
        np.testing.assert_allclose(fit.conditional.F[:, :, 0], 5.0, atol=0.05)
