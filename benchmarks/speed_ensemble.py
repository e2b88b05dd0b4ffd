"""One epoch of training an ensemble: ours against mbrl 0.2.0, same settings, in turns, each turn in a fresh process.

    python benchmarks/peers/setup_mbrl.py     # once
    python benchmarks/speed_ensemble.py

2,000 rows, 5 networks of 4 x 200 units with SiLU, 5 inputs, 4 outputs, Adam, a bootstrap for each member;
minibatches of 256 and of 32; no rows held out.  "Training" is the passes through the minibatches alone, on both
sides.  mbrl's `ModelTrainer`, as its example uses it, also evaluates all rows after each pass, which ours does not do
without held-out rows; so both times of mbrl are reported.
Ours is the time of a call of `fit` with a fixed number of epochs, divided by that number; compilation is reported
separately.
"""

import json
import statistics

from common import (
    LAYERS,
    MEMBERS,
    arguments,
    describe,
    gradient_flops,
    hardware,
    ours,
    peer,
    save,
    seconds,
    summary,
    table,
)

BATCHES = (256, 32)


def main() -> None:
    flags = arguments(
        __doc__,
        repeats={"type": int, "default": 5, "help": "turns of each side"},
        epochs={"type": int, "default": 20, "help": "epochs in a measurement"},
        rows={"type": int, "default": 2000, "help": "rows of data"},
    )
    if flags.quick:
        flags.repeats, flags.epochs, flags.rows = 1, 2, 300
    if flags.measure:
        print(json.dumps(measure(flags.rows, flags.epochs)))
        return
    report = compare(flags.repeats, flags.rows, flags.epochs, flags.threads)
    show(report)
    if not flags.quick:
        print(f"saved: {save('speed_ensemble', report)}")


def compare(repeats: int, rows: int, epochs: int, threads: int) -> dict:
    """Both sides in turns."""
    machine = hardware()
    sizes = ["--rows", rows, "--epochs", epochs, "--threads", threads]
    turns = []
    for _ in range(repeats):
        turns.append({"mbrl": peer("peer_ensemble.py", *sizes), "forethought": ours(__file__, *sizes)})
        pairs = ", ".join(
            f"batch {b}: {_their_training(turns[-1], b):.3f} s, {_our_epoch(turns[-1], b):.3f} s" for b in BATCHES
        )
        print(f"training, mbrl and forethought: {pairs}", flush=True)
    settings = {
        "rows": rows,
        "members": MEMBERS,
        "layers": LAYERS,
        "epochs": epochs,
        "threads": threads,
        "repeats": repeats,
    }
    return {
        "hardware": machine,
        "settings": settings,
        "batches": {b: _compare_batch(turns, b, rows) for b in BATCHES},
        "turns": turns,
    }


def _compare_batch(turns: list[dict], batch: int, rows: int) -> dict:
    trained = -(-rows // batch) * batch  # ours fills the last minibatch
    flops = MEMBERS * gradient_flops(trained)
    training, whole, mine = (
        [side(turn, batch) for turn in turns] for side in (_their_training, _their_epoch, _our_epoch)
    )
    return {
        "mbrl_training_s": summary(training),
        "mbrl_training_and_evaluation_s": summary(whole),
        "forethought_training_s": summary(mine),
        "forethought_compile_s": summary([turn["forethought"]["epochs"][str(batch)]["compile_s"] for turn in turns]),
        "times_faster": summary([a / b for a, b in zip(training, mine, strict=True)]),
        "times_faster_than_with_evaluation": summary([a / b for a, b in zip(whole, mine, strict=True)]),
        "gflop_in_an_epoch": flops / 1e9,
        "forethought_gflops": summary([flops / seconds / 1e9 for seconds in mine]),
    }


def _their_training(turn: dict, batch: int) -> float:
    return turn["mbrl"]["epochs"][str(batch)]["training_only_s"]


def _their_epoch(turn: dict, batch: int) -> float:
    return turn["mbrl"]["epochs"][str(batch)]["epoch_s"]


def _our_epoch(turn: dict, batch: int) -> float:
    return turn["forethought"]["epochs"][str(batch)]["epoch_s"]


def show(report: dict) -> None:
    """The table."""
    print(describe(report["hardware"]))
    names = {
        "mbrl, training [s]": "mbrl_training_s",
        "mbrl, training and evaluation [s]": "mbrl_training_and_evaluation_s",
        "forethought, training [s]": "forethought_training_s",
        "forethought, compilation [s]": "forethought_compile_s",
        "times faster": "times_faster",
        "times faster than with evaluation": "times_faster_than_with_evaluation",
        "forethought, achieved [GFLOP/s]": "forethought_gflops",
    }
    for batch, result in report["batches"].items():
        rows = [[text, *(result[name][k] for k in ("median", "min", "max"))] for text, name in names.items()]
        print(table([f"an epoch, batch {batch}", "median", "min", "max"], rows))


def measure(rows: int, epochs: int) -> dict:
    """Our side, in this process."""
    import jax

    report = {str(batch): epoch_seconds(rows, batch, epochs) for batch in BATCHES}
    return {"epochs": report, "jax": jax.__version__, "device": jax.devices()[0].platform}


def epoch_seconds(rows: int, batch: int, epochs: int, *, fits: int = 5) -> dict:
    """The median of some fits, each divided by its epochs."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    from forethought.models.ensemble import Ensemble

    settings = Ensemble(
        MEMBERS,
        LAYERS[1:-1],
        learning_rate=7.5e-4,
        weight_decay=3e-5,
        batch=batch,
        max_epochs=epochs,
        max_updates=epochs * rows,
        patience=epochs,  # never stops early
        holdout=0.0,
    )
    mixing = jr.normal(jr.key(0), (LAYERS[0], LAYERS[-1] // 2))
    z = jr.normal(jr.key(1), (rows, LAYERS[0]))
    y, size = 0.1 * jnp.tanh(z @ mixing), jnp.asarray(rows)
    start = settings.init(*mixing.shape, key=jr.key(2))

    def fit(seed: int) -> None:
        _, report = jax.block_until_ready(settings.fit(z, y, size, previous=start, key=jr.key(seed)))
        if int(report.epochs.min()) != epochs:
            raise SystemExit(
                f"A member stopped after {report.epochs.min()} of {epochs} epochs: this is no measurement."
            )

    first_s = seconds(fit, 0)
    fit_s = statistics.median(seconds(fit, seed) for seed in range(1, fits + 1))
    return {"epoch_s": fit_s / epochs, "compile_s": first_s - fit_s}


if __name__ == "__main__":
    main()
