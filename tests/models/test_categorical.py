"""An ensemble of classifiers is the mean of its members' probabilities."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from forethought.core import Conditional
from forethought.models.categorical import CategoricalEnsemble, CategoricalNetwork
from forethought.networks.normalizer import Normalizer

scaling = Normalizer(jnp.array([1.0, -1.0]), jnp.array([2.0, 0.5]))
networks = eqx.filter_vmap(lambda key: CategoricalNetwork.init(scaling, 3, hidden=(4,), key=key))(
    jr.split(jr.key(0), 4)
)
ensemble = CategoricalEnsemble(networks)
z = jnp.array([0.4, 0.2])


def test_the_ensemble_averages_probabilities():
    assert isinstance(ensemble, Conditional) and ensemble.member_count == 4
    each = np.stack([ensemble.member(i)(z).probs for i in range(4)])
    np.testing.assert_allclose(ensemble(z).probs, each.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(ensemble(z).logits), ensemble(z).probs, rtol=1e-5)


def test_a_draw_is_a_member():
    members = [ensemble.member(i)(z).logits for i in range(4)]
    drawn = {
        int(np.argmin([np.abs(m - ensemble.draw(key=jr.key(i))(z).logits).max() for m in members])) for i in range(20)
    }
    assert drawn == {0, 1, 2, 3}
    one = ensemble.member(0)
    assert one.draw(key=jr.key(0)) is one


def test_no_gradient_reaches_the_scaling_of_the_inputs():
    gradient = eqx.filter_grad(lambda network: network(z).logits[0])(ensemble.member(0))
    assert not np.any(gradient.inputs.mean) and np.any(gradient.network.biases[-1])
    assert jax.tree.structure(gradient) == jax.tree.structure(ensemble.member(0))
