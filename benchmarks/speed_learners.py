"""Updates of SAC and steps of PPO per second: ours against Stable-Baselines3, same sizes, in turns, fresh processes.

    python benchmarks/peers/setup_sb3.py      # once, for the peer
    python benchmarks/speed_learners.py       # --alone: our side only

SAC: gradient steps on batches of 256 from a full buffer; 17 observations and 6 actions (HalfCheetah's), networks of
256 x 256.  No environment is stepped.
PPO: everything together, experience and updates: 2048 steps for an update, 4 epochs of 4 minibatches, networks of
64 x 64 for policy and value.  Ours on our pendulum and cart-pole, 64 copies; Stable-Baselines3 on Gymnasium's
Pendulum-v1 and CartPole-v1, 8 copies in one process (its DummyVecEnv), the usual way to run it.  So the systems are
alike, not the same.
Matrix products: the rate of 1024 x 1024 products in the same process, float32; the share is of that.
"""

import json

from common import (
    BENCHMARKS,
    ROOT,
    arguments,
    describe,
    forward_flops,
    gradient_flops,
    hardware,
    ours,
    peer,
    save,
    seconds,
    summary,
    table,
)

OBSERVATIONS, ACTIONS, UNITS, BATCH = 17, 6, 256, 256
STEPS, EPOCHS, MINIBATCHES, COPIES = 2048, 4, 4, 64
SYSTEMS = {"pendulum": "forethought/PendulumSwingUp-v0", "cart-pole": "forethought/CartPoleSwingUp-v0"}


def main() -> None:
    flags = arguments(
        __doc__,
        repeats={"type": int, "default": 3, "help": "turns of each side"},
        updates={"type": int, "default": 500, "help": "updates of SAC in a measurement"},
        steps={"type": int, "default": 400_000, "help": "steps of PPO in a measurement of ours"},
        alone={"action": "store_true", "help": "without the peer"},
    )
    if flags.quick:
        flags.repeats, flags.updates, flags.steps = 1, 10, 10_000
    if flags.measure:
        print(json.dumps(measure(flags.updates, flags.steps)))
        return
    report = compare(flags)
    show(report)
    if not flags.quick:
        print(f"saved: {save('speed_learners', report)}")


def compare(flags) -> dict:
    """Both sides in turns."""
    machine, turns = hardware(), []
    sizes = ["--updates", flags.updates, "--threads", flags.threads]
    for _ in range(flags.repeats):
        turn = {"forethought": ours(__file__, *sizes, "--steps", flags.steps)}
        if not flags.alone:
            turn["sb3"] = peer(
                "peer_sb3.py",
                *sizes,
                "--steps",
                max(flags.steps // 20, 4096),
                python=ROOT / ".venv-sb3" / "bin" / "python",
                setup=BENCHMARKS / "peers" / "setup_sb3.py",
            )
        turns.append(turn)
        print(json.dumps({side: result["rates"] for side, result in turn.items()}), flush=True)
    rates: dict[str, dict] = {}
    for name in turns[0]["forethought"]["rates"]:
        mine = [turn["forethought"]["rates"][name] for turn in turns]
        rates[name] = {"forethought": summary(mine)}
        if name in operations():
            shares = [
                rate * operations()[name] / turn["forethought"]["matrix_flops"]
                for rate, turn in zip(mine, turns, strict=True)
            ]
            rates[name]["share_of_matrix_rate"] = summary(shares)
        if not flags.alone:
            theirs = [turn["sb3"]["rates"][name] for turn in turns]
            rates[name] |= {
                "sb3": summary(theirs),
                "times_faster": summary([a / b for a, b in zip(mine, theirs, strict=True)]),
            }
    return {"hardware": machine, "threads": flags.threads, "rates": rates, "turns": turns}


def operations() -> dict[str, int]:
    """Operations of the matrix products in one update of SAC, and for one step of PPO."""
    critic, actor = (OBSERVATIONS + ACTIONS, UNITS, UNITS, 1), (OBSERVATIONS, UNITS, UNITS, 2 * ACTIONS)
    # Targets: one policy and two critics forwards.  Critics: two gradients.  Policy: its gradient, and two critics
    # forwards and backwards to their inputs.
    sac = (
        forward_flops(BATCH, actor)
        + 2 * forward_flops(BATCH, critic)
        + 2 * gradient_flops(BATCH, critic)
        + gradient_flops(BATCH, actor)
        + 4 * forward_flops(BATCH, critic)
    )
    ppo = {}
    for name, features in (("pendulum", 3), ("cart-pole", 5)):
        layers = (features, 64, 64, 1)  # of the policy, and of the value
        # Acting: the policy.  Advantages: two values, and the policy again.  Then the gradients.
        ppo[f"ppo, {name}"] = 4 * forward_flops(1, layers) + EPOCHS * 2 * gradient_flops(1, layers)
    return {"sac updates": sac, **ppo}


def show(report: dict) -> None:
    """The table."""
    print(describe(report["hardware"]))
    rows = []
    for name, result in report["rates"].items():
        rows += [[f"{name}, {what} ", *(one[k] for k in ("median", "min", "max"))] for what, one in result.items()]
    print(table(["per second", "median", "min", "max"], rows))


def measure(updates: int, steps: int) -> dict:
    """Our side, in this process."""
    import jax

    rates = {"sac updates": sac_rate(updates)}
    rates |= {f"ppo, {name}": ppo_rate(env, steps) for name, env in SYSTEMS.items()}
    return {"rates": rates, "matrix_flops": matrix_rate(), "jax": jax.__version__}


def sac_rate(updates: int) -> float:
    """Updates per second in compiled blocks of 50, the first block left out."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    from forethought.core import Box, Buffer, Observations, Spaces, Transition
    from forethought.learners import SACLearner

    learner = SACLearner(hidden=(UNITS, UNITS), batch=BATCH)
    spaces = Spaces(Observations((OBSERVATIONS,)), Box.symmetric(jnp.ones(ACTIONS)))
    rows, no = 10_000, jnp.zeros(10_000, bool)
    xs, us = jr.normal(jr.key(0), (rows, OBSERVATIONS)), jr.uniform(jr.key(1), (rows, ACTIONS), minval=-1)
    buffer = Buffer.like(spaces.example(), rows, ring=True).append(Transition(xs, us, xs + 0.1, us[:, 0], no, no))

    @eqx.filter_jit
    def block(state, buffer, key):
        def once(state, key):
            return learner.update(state, buffer.sample(BATCH, key=key), key=key)

        return jax.lax.scan(once, state, jr.split(key, 50))[0]

    state = jax.block_until_ready(block(learner.init(spaces, key=jr.key(2)), buffer, jr.key(3)))
    blocks = max(updates // 50, 1)

    def run() -> None:
        now = state
        for i in range(blocks):
            now = block(now, buffer, jr.key(i))
        jax.block_until_ready(now)

    return 50 * blocks / seconds(run)


def ppo_rate(name: str, steps: int) -> float:
    """Steps per second of whole rounds after the first; the episode that each records takes time and is not counted."""
    import jax
    import jax.random as jr

    from forethought.algorithms.on_policy import Rollouts
    from forethought.algorithms.ppo import PPO
    from forethought.envs.open import open_env
    from forethought.learners import PPOLearner

    learner = PPOLearner(hidden=(64, 64), epochs=EPOCHS, minibatches=MINIBATCHES)
    rounds = max(steps // (10 * STEPS), 1)
    algorithm, env = PPO(learner, Rollouts(environments=COPIES, steps=STEPS, round_steps=10 * STEPS)), open_env(name)
    state, _ = algorithm.iterate(algorithm.init(env, key=jr.key(0)), env, key=jr.key(1))

    def run() -> None:
        now = state
        for i in range(rounds):
            now, _ = algorithm.iterate(now, env, key=jr.key(i))
        jax.block_until_ready(now)

    return rounds * 10 * STEPS / seconds(run)


def matrix_rate() -> float:
    """Operations per second of large products of matrices."""
    import jax
    import jax.numpy as jnp

    size, repeats = 1024, 20
    a = jnp.ones((size, size)) / size
    chain = jax.jit(lambda a: jax.lax.fori_loop(0, repeats, lambda _, b: a @ b, a))
    jax.block_until_ready(chain(a))
    return repeats * 2 * size**3 / min(seconds(lambda: jax.block_until_ready(chain(a))) for _ in range(3))


if __name__ == "__main__":
    main()
