import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from forethought.models.classifier import Classifier


def test_rare_class_is_found():
    """2% of the states lie outside |z0| < 0.9; padding holds garbage."""
    z = jr.uniform(jr.key(0), (2048, 3), minval=-0.95, maxval=0.95)
    label = jnp.abs(z[:, 0]) > 0.9
    z = z.at[1500:].set(1e6)
    fitted, error = Classifier().fit(
        z, label, jnp.array(1500), previous=Classifier().init(3, key=jr.key(1)), key=jr.key(2)
    )
    assert error < 0.1
    fresh = jr.uniform(jr.key(3), (1000, 3), minval=-1.0, maxval=1.0)
    says = np.asarray(jax.vmap(fitted)(fresh).mean[:, 0] > 0)
    assert np.mean(says == (np.abs(fresh[:, 0]) > 0.9)) > 0.94
