"""An animated picture (GIF) of one episode of a trained controller; the one at the top of the README was made with it.

    forethought train pilco forethought/CartPoleSwingUp-v0 --observation-noise 0.01 --iterations 5 --out runs/pilco
    python examples/animation.py runs/pilco --out docs/img/cartpole.gif

The README's picture is of seed 40 after 5 rounds, at commit f28f473 with `--trial-steps 25 --blur 0.25`.
The run must be on one of the shipped systems.  Sensors are noise-free in this episode, so that true states are drawn.
"""

import argparse
from dataclasses import replace

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from PIL import Image

import forethought as ft


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run directory")
    parser.add_argument("--out", default="animation.gif", help="output file (default: animation.gif)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the episode (default: 0)")
    parser.add_argument("--width", type=int, default=480, help="width of the picture, pixels (default: 480)")
    parser.add_argument("--between", type=int, default=2, help="pictures per step (default: 2)")
    flags = parser.parse_args()
    run = ft.load(flags.run)
    env = replace(run.env, observation_std=0.0)
    episode = env.run(run.controller, key=jr.key(flags.seed))
    write_gif(pictures(env, episode, flags.between), flags.out, flags.width, seconds=env.task.dt / flags.between)
    print(f"{flags.out}: {len(episode)} steps, return {episode.reward.sum():.2f}")


def pictures(env, episode, between: int) -> list[np.ndarray]:
    """The episode's states and, within each step, the states `dt / between` apart while its action acts."""
    dt = env.task.dt
    shorter = replace(env.problem.dynamics, dt=dt / between)
    drawn = []
    for t, (start, u) in enumerate(zip(episode.x, episode.u, strict=True)):
        x = start
        for part in range(between):
            drawn.append(env.picture(np.asarray(x), np.asarray(u), t * dt + part * dt / between))
            x = shorter(jnp.asarray(x), jnp.asarray(u), jnp.asarray(t)).mean
    return [*drawn, env.picture(np.asarray(episode.x_next[-1]), None, len(episode) * dt)]


def write_gif(drawn: list[np.ndarray], out: str, width: int, *, seconds: float) -> None:
    """Write the pictures, `seconds` apart, as an endless animation that pauses at its end."""
    height = round(width * drawn[0].shape[0] / drawn[0].shape[1])
    images = [Image.fromarray(one).resize((width, height), Image.Resampling.LANCZOS) for one in drawn]
    palette = images[len(images) // 2].quantize(64)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [round(1000 * seconds)] * (len(images) - 1) + [1500]
    images[0].save(out, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True)


if __name__ == "__main__":
    main()
