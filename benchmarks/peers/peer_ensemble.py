"""mbrl's side of `speed_ensemble.py`: seconds for one epoch of its GaussianMLP ensemble; prints one JSON object.

Two numbers for each batch size: with the evaluation over all rows that `ModelTrainer.train` makes after each epoch,
as the example runs it, and the passes of training alone.
"""

import argparse
import json
import statistics
import time

import mbrl.models
import mbrl.util.common
import mbrl_patches
import numpy as np
import torch
from mbrl_settings import five_members


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 32])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    mbrl_patches.apply()
    report = {"threads": torch.get_num_threads(), "torch": torch.__version__, "mbrl": mbrl.__version__, "epochs": {}}
    for batch in arguments.batches:
        report["epochs"][batch] = {
            "epoch_s": epoch_seconds(arguments.rows, batch, arguments.epochs, evaluate=True),
            "training_only_s": epoch_seconds(arguments.rows, batch, arguments.epochs, evaluate=False),
        }
    print(json.dumps(report))


def epoch_seconds(rows: int, batch: int, epochs: int, *, evaluate: bool) -> float:
    """The median epoch, the first one left out."""
    cfg = five_members()
    model = mbrl.util.common.create_one_dim_tr_model(cfg, (4,), (1,))
    buffer = filled_buffer(cfg, rows)
    data, _ = mbrl.util.common.get_basic_buffer_iterators(
        buffer, batch, val_ratio=0, ensemble_size=len(model), shuffle_each_epoch=True
    )
    model.update_normalizer(buffer.get_all())
    trainer = mbrl.models.ModelTrainer(model, optim_lr=cfg.overrides.model_lr, weight_decay=cfg.overrides.model_wd)
    ends = []
    trainer.train(
        data,
        num_epochs=epochs + 1,
        evaluate=evaluate,
        silent=True,
        callback=lambda *_: ends.append(time.perf_counter()),
    )
    return statistics.median(np.diff(ends))


def filled_buffer(cfg, rows: int):
    """Made-up transitions that can be learned, of the sizes that the cart-pole has."""
    rng = np.random.default_rng(0)
    buffer = mbrl.util.common.create_replay_buffer(
        cfg, (4,), (1,), rng=rng, obs_type=np.double, action_type=np.double, reward_type=np.double
    )
    mixing = rng.normal(size=(5, 4))
    for z in rng.normal(size=(rows, 5)):
        buffer.add(z[:4], z[4:], z[:4] + 0.1 * np.tanh(z @ mixing), 0.0, False, False)
    return buffer


if __name__ == "__main__":
    main()
