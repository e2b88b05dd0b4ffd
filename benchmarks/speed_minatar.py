"""Steps of PPO on MinAtar per second: ours against Stable-Baselines3, same network and batches, in turns.

    python benchmarks/peers/setup_sb3.py      # once, for the peer
    python benchmarks/speed_minatar.py        # --alone: our side only

Everything together, experience and updates: 64 copies, 8192 steps for an update, 4 epochs of 8 minibatches, one
convolution of 16 kernels 3 x 3 and a layer of 128 units, shared by policy and value.  Ours steps pgx's translation of
MinAtar to JAX inside the compiled update; Stable-Baselines3 steps MinAtar itself, in Python, 64 copies in one process
(its DummyVecEnv).  The games are the same, the programs are not.
Operations: multiplications and additions of convolutions and matrix products; the share is of the rate of 1024 x 1024
matrix products in the same process, float32.
"""

import json

from common import BENCHMARKS, ROOT, arguments, describe, hardware, ours, peer, save, seconds, summary, table
from speed_learners import matrix_rate

GAMES = {"Asterix": (4, 5), "Breakout": (4, 3), "Freeway": (7, 3), "SpaceInvaders": (6, 4)}  # channels, actions
COPIES, STEPS, EPOCHS, MINIBATCHES = 64, 8192, 4, 8


def main() -> None:
    flags = arguments(
        __doc__,
        games={"nargs": "+", "default": list(GAMES), "choices": list(GAMES), "help": "which games"},
        repeats={"type": int, "default": 3, "help": "turns of each side"},
        updates={
            "type": int,
            "default": 10,
            "help": "updates in a measurement of ours; the peer makes a tenth, 2 or more",
        },
        alone={"action": "store_true", "help": "without the peer"},
    )
    if flags.quick:
        flags.games, flags.repeats, flags.updates = ["Breakout"], 1, 1
    if flags.measure:
        rates = {game: rate(game, flags.updates) for game in flags.games}
        print(json.dumps({"rates": rates, "matrix_flops": matrix_rate()}))
        return
    report = compare(flags)
    show(report)
    if not flags.quick:
        print(f"saved: {save('speed_minatar', report)}")


def compare(flags) -> dict:
    """Both sides in turns."""
    machine, turns = hardware(), []
    for _ in range(flags.repeats):
        sizes = ["--threads", flags.threads, "--games", *flags.games]
        turn = {"forethought": ours(__file__, *sizes, "--updates", flags.updates)}
        if not flags.alone:
            turn["sb3"] = peer(
                "peer_minatar.py",
                *sizes,
                "--updates",
                max(flags.updates // 10, 1 if flags.quick else 2),
                python=ROOT / ".venv-sb3" / "bin" / "python",
                setup=BENCHMARKS / "peers" / "setup_sb3.py",
            )
        turns.append(turn)
        print(json.dumps({side: result["rates"] for side, result in turn.items()}), flush=True)
    rates: dict[str, dict] = {}
    for game in flags.games:
        mine = [turn["forethought"]["rates"][game] for turn in turns]
        parts = zip(mine, turns, strict=True)
        shares = [one * operations(*GAMES[game]) / turn["forethought"]["matrix_flops"] for one, turn in parts]
        rates[game] = {
            "forethought": summary(mine),
            "minutes_for_10M_steps": summary([1e7 / one / 60 for one in mine]),
            "share_of_matrix_rate": summary(shares),
        }
        if not flags.alone:
            theirs = [turn["sb3"]["rates"][game] for turn in turns]
            times = [a / b for a, b in zip(mine, theirs, strict=True)]
            rates[game] |= {"sb3": summary(theirs), "times_faster": summary(times)}
    return {"hardware": machine, "threads": flags.threads, "rates": rates, "turns": turns}


def operations(channels: int, actions: int) -> int:
    """Operations of the convolutions and matrix products for one step.

    One pass forwards to act and one for the advantages; then, in each epoch, one forwards and two backwards, except
    that the convolution needs no gradient of its input.
    """
    convolution, rest = 2 * 64 * 9 * channels * 16, 2 * (1024 * 128 + 128 * (actions + 1))
    return (2 + 2 * EPOCHS) * convolution + (2 + 3 * EPOCHS) * rest


def rate(game: str, updates: int) -> float:
    """Steps per second of a round of `updates` updates, after one update that compiles."""
    import jax
    import jax.random as jr

    from forethought.algorithms.on_policy import Rollouts
    from forethought.algorithms.ppo_images import PPOImages
    from forethought.envs.open import open_env

    def rounds(count: int) -> PPOImages:
        return PPOImages(rollouts=Rollouts(COPIES, STEPS, count * STEPS, record=False))

    env = open_env(f"MinAtar/{game}-v1")
    state, _ = rounds(1).iterate(rounds(1).init(env, key=jr.key(0)), env, key=jr.key(1))
    return (
        updates * STEPS / seconds(lambda: jax.block_until_ready(rounds(updates).iterate(state, env, key=jr.key(2))[0]))
    )


def show(report: dict) -> None:
    """The table."""
    print(describe(report["hardware"]))
    rows = []
    for name, result in report["rates"].items():
        rows += [[f"{name}, {what} ", *(one[k] for k in ("median", "min", "max"))] for what, one in result.items()]
    print(table(["steps per second", "median", "min", "max"], rows))


if __name__ == "__main__":
    main()
