"""The three learners on batches that are made up, so that what they should learn is known."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.off_policy import updated
from forethought.core import Box, Discrete, Learner, Observations, Spaces, Transition, UsageError
from forethought.learners.policy_gradient import PolicyGradientLearner
from forethought.learners.ppo import PPOLearner, clipped_loss
from forethought.learners.sac import SACLearner
from forethought.policies.network import on_policy

BOX = Box(jnp.array([-2.0]), jnp.array([2.0]))
SPACES = Spaces(Observations((2,)), BOX)
CHOICES = Spaces(Observations((2,)), Discrete(3))
LIMIT, DISCOUNT = 5, 0.9  # steps of an episode that only a time limit ends

PPO = PPOLearner(hidden=(16,), learning_rate=3e-3, epochs=4, minibatches=2, discount=DISCOUNT)
GRADIENT = PolicyGradientLearner(
    hidden=(16,), learning_rate=3e-3, value_learning_rate=1e-2, value_updates=10, discount=DISCOUNT
)
SAC = SACLearner(
    hidden=(16,),
    learning_rate=3e-3,
    tau=0.05,
    batch=64,
    discount=DISCOUNT,
    initial_temperature=1e-3,
    target_entropy=-9.0,
)
update = eqx.filter_jit(lambda learner, state, batch, key: learner.update(state, batch, key=key))
repeat = eqx.filter_jit(
    lambda learner, state, batch, updates, key: updated(
        lambda state, key: learner.update(state, batch, key=key), state, updates, key
    )
)


@functools.cache
def initial(learner, discrete=False):
    """The state before any data, compiled once."""
    return eqx.filter_jit(lambda key: learner.init(CHOICES if discrete else SPACES, key=key))(jr.key(0))


def steps_of_reward_one(shape, spaces, *, terminal=False, key):
    """Episodes of LIMIT steps [T, *B] with reward 1, cut by a time limit or ended by a terminal state."""
    x_key, next_key, u_key = jr.split(key, 3)
    count = int(np.prod(shape))
    us = jax.vmap(lambda key: spaces.actions.sample(key=key))(jr.split(u_key, count))
    ends = jnp.broadcast_to((jnp.arange(shape[0]) % LIMIT == LIMIT - 1).reshape(-1, *[1] * (len(shape) - 1)), shape)
    none = jnp.zeros(shape, bool)
    flags = (ends, none) if terminal else (none, ends)
    xs, x_next = jr.normal(x_key, (*shape, 2)), jr.normal(next_key, (*shape, 2))
    return Transition(xs, us.reshape(*shape, *us.shape[1:]), x_next, jnp.ones(shape), *flags)


def trained(learner, batch, updates):
    state, told = repeat(learner, initial(learner), batch, jnp.asarray(updates), jr.key(1))
    assert all(np.isfinite(float(value)) for value in told.values())
    return state


@pytest.mark.parametrize("learner", [PPO, GRADIENT], ids=["ppo", "policy-gradient"])
def test_a_time_limit_is_no_end_of_the_task(learner):
    """Reward 1 at each step, for ever: 1 / (1 - 0.9) = 10.  Ended after 5 steps it is 4.1 at most."""
    assert isinstance(learner, Learner)
    cut, ended = (steps_of_reward_one((20, 8), SPACES, terminal=end, key=jr.key(2)) for end in (False, True))
    values = jax.vmap(trained(learner, cut, 120).value)(cut.x.reshape(-1, 2))
    np.testing.assert_allclose(values, 10, atol=0.5)
    values = jax.vmap(trained(learner, ended, 40).value)(ended.x.reshape(-1, 2))
    assert float(jnp.max(values)) < 4.5


def test_sac_takes_no_time_limit_for_an_end():
    batch = steps_of_reward_one((160,), SPACES, key=jr.key(2))
    state = trained(SAC, batch, 500)
    np.testing.assert_allclose(state.critic(batch.x, batch.u), 10, atol=0.7)


@eqx.filter_jit
def play(learner, state, keys):
    """The state after a batch of 64 pulls, and an update, for each key."""

    def pull(state, key):
        keys, xs, ends = jr.split(key, 64), jnp.ones((64, 2)), jnp.ones(64, bool)
        us = jax.vmap(lambda x, key: state.policy(x).sample(key=key))(xs, keys)
        rows = Transition(xs, us, xs, (us == 2).astype(jnp.float32), ends, ~ends)
        return learner.update(state, jax.tree.map(lambda a: a[None], rows), key=key)[0], None

    return jax.lax.scan(pull, state, keys)[0]


def test_actions_with_an_advantage_become_likelier():
    """A bandit with three arms: the last pays 1, the others nothing."""
    for learner, batches in ((PPO, 30), (GRADIENT, 120)):
        state = play(learner, initial(learner, discrete=True), jr.split(jr.key(0), batches))
        assert float(learner.policy(state)(jnp.ones(2)).probs[2]) > 0.7, type(learner)


def test_the_clipped_loss_has_no_gradient_beyond_its_range():
    slope = jax.grad(lambda log_ratio, advantage: clipped_loss(jnp.array([log_ratio]), jnp.array([advantage]), 0.2))
    ratios = {"inside": 1.1, "above": 1.3, "below": 0.7}
    found = {name: [float(slope(float(np.log(r)), a)) for a in (1.0, -1.0)] for name, r in ratios.items()}
    np.testing.assert_allclose(found["inside"], [-1.1, 1.1], rtol=1e-5)
    np.testing.assert_allclose(found["above"], [0, 1.3], rtol=1e-5)  # it was made likelier enough; or must be undone
    np.testing.assert_allclose(found["below"], [-0.7, 0], rtol=1e-5)


def test_learning_starts_from_a_given_policy():
    policy = on_policy(SPACES, hidden=(4,), normalize=True, who="PPO", key=jr.key(5))
    x = jnp.array([0.4, -1.0])
    for learner in (PPO, GRADIENT):
        state = learner.init(SPACES, policy=policy, key=jr.key(0))
        np.testing.assert_array_equal(learner.policy(state)(x).mode, policy(x).mode)


@pytest.mark.parametrize("name", ["uniform", "glorot"])
def test_the_weights_of_sac_start_as_told(name):
    state = SACLearner(hidden=(64, 64), initializer=name).init(SPACES, key=jr.key(0))
    limits = {
        "uniform": lambda rows, columns: rows**-0.5,
        "glorot": lambda rows, columns: (6 / (rows + columns)) ** 0.5,
    }
    for weight in [*state.policy.network.weights, *(weights[0] for weights in state.critic.networks.weights)]:
        limit = limits[name](*weight.shape)
        assert 0.9 * limit < np.abs(weight).max() <= limit


def test_the_targets_of_sac_against_a_plain_computation():
    batch = jax.tree.map(lambda a: a[:6], steps_of_reward_one((10,), SPACES, terminal=True, key=jr.key(3)))
    state, temperature, key = initial(SAC), jnp.asarray(0.3), jr.key(4)
    found = eqx.filter_jit(SAC.targets)(state, batch, temperature, key=key)

    def act(x, key):
        u = state.policy(x).sample(key=key)
        return u, state.policy(x).log_prob(u)

    us, log_probs = map(np.asarray, jax.jit(jax.vmap(act))(batch.x_next, jr.split(key, 6)))
    layers = [tuple(map(np.asarray, pair)) for pair in zip(state.target.weights, state.target.biases, strict=True)]
    for i in range(6):
        values = []
        for k in (0, 1):
            h = np.concatenate([batch.x_next[i], us[i] / 2])
            for weight, bias in layers[:-1]:
                h = np.maximum(h @ weight[k] + bias[k], 0)
            values.append(float((h @ layers[-1][0][k] + layers[-1][1][k])[0]))
        soft = min(values) - 0.3 * float(log_probs[i])
        expected = 1.0 if bool(batch.terminated[i]) else 1 + DISCOUNT * soft
        assert float(found[i]) == pytest.approx(expected, rel=1e-3)
    assert bool(batch.terminated[4])


def test_the_temperature_rises_where_the_policy_is_too_certain_and_targets_follow_slowly():
    """The goal is an entropy of -9: that of a new policy is above it; with a standard deviation of exp(-15) below."""
    batch = steps_of_reward_one((160,), SPACES, key=jr.key(2))
    before = initial(SAC)
    certain = eqx.tree_at(lambda s: s.policy.network.biases[-1], before, jnp.array([0.0, -15.0]))
    for state, sign in ((before, -1), (certain, 1)):
        after, _ = update(SAC, state, batch, jr.key(1))
        assert sign * float(after.log_temperature - state.log_temperature) > 0
        old, new, slow = (part.weights[0] for part in (state.target, after.critic.networks, after.target))
        np.testing.assert_allclose(slow, 0.95 * old + 0.05 * new, atol=1e-6)
        assert float(jnp.max(jnp.abs(new - old))) > 1e-5


def test_critics_alone_learn_as_in_an_update_and_policy_and_temperature_stay():
    batch = steps_of_reward_one((160,), SPACES, key=jr.key(2))
    before, whole = initial(SAC), update(SAC, initial(SAC), batch, jr.key(1))[0]
    after, told = eqx.filter_jit(SAC.update_critics)(before, batch, key=jr.key(1))
    for same, part in ((before, lambda s: (s.policy, s.log_temperature)), (whole, lambda s: (s.critic, s.target))):
        for a, b in zip(jax.tree.leaves(part(after)), jax.tree.leaves(part(same)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert set(told) == {"critic_loss", "q"}
    assert float(jnp.max(jnp.abs(after.critic.networks.weights[0] - before.critic.networks.weights[0]))) > 1e-5


def test_unsuitable_spaces_are_refused_with_the_remedy():
    with pytest.raises(UsageError, match="SAC needs continuous actions.*use PPO"):
        SAC.init(CHOICES, key=jr.key(0))
    with pytest.raises(UsageError, match="SAC learns from vectors.*use PPO"):
        SAC.init(Spaces(Observations((8, 8, 3), "uint8"), BOX), key=jr.key(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: PPOLearner(clip=0.0), "clip"),
        (lambda: PPOLearner(discount=1.1), "discount"),
        (lambda: PPOLearner(minibatches=0), "minibatches"),
        (lambda: PolicyGradientLearner(value_updates=0), "value_updates"),
        (lambda: SACLearner(tau=0.0), "tau"),
        (lambda: SACLearner(hidden=(0,)), "hidden"),
        (lambda: SACLearner(learning_rate=-1.0), "learning_rate"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        settings()


def test_images_get_a_convolutional_network():
    spaces = Spaces(Observations((10, 10, 4), "uint8"), Discrete(3))
    state = eqx.filter_jit(lambda key: PPO.init(spaces, key=key))(jr.key(0))
    image = jnp.full((10, 10, 4), 200, jnp.uint8)
    assert state.policy(image).probs.shape == (3,) and state.value(image).shape == ()
