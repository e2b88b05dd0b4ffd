"""A film strip of one episode of a trained controller: the picture at the top of the README.

python examples/filmstrip.py runs/demo --out docs/img/cartpole.png
"""

import argparse

import imageio.v3 as iio
import jax.random as jr
import numpy as np

import forethought as ft


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run directory")
    parser.add_argument("--out", default="filmstrip.png")
    parser.add_argument("--seed", type=int, default=0, help="of the episode")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2)
    flags = parser.parse_args()
    run = ft.load(flags.run)
    frames: list[np.ndarray] = []
    episode = run.env.run(run.controller, key=jr.key(flags.seed), frames=frames)
    iio.imwrite(flags.out, strip(frames, flags.rows, flags.columns))
    print(f"{flags.out}: {len(episode)} steps, return {episode.reward.sum():.2f}")


def strip(frames: list[np.ndarray], rows: int, columns: int) -> np.ndarray:
    """Frames evenly spread over the episode, at half size, in reading order."""
    chosen = np.linspace(0, len(frames) - 1, rows * columns).round().astype(int)
    small = [_halved(frames[i]) for i in chosen]
    return np.concatenate([np.concatenate(small[r * columns : (r + 1) * columns], axis=1) for r in range(rows)])


def _halved(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    blocks = frame[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return blocks.mean(axis=(1, 3)).astype(np.uint8)


if __name__ == "__main__":
    main()
