"""How many rollouts a local fit of the dynamics needs: without a prior, with a mixture as prior, with a global model.

    python benchmarks/local_fits.py            # two minutes on one core
    python benchmarks/local_fits.py --quick    # does everything run?

A two-link arm is moved by noisy torques for 40 steps; the actuators add noise.  Four earlier iterations of five
rollouts each had other torques.  Time-varying linear-Gaussian dynamics are fitted to N new rollouts with
    none      no prior: least squares, from N = d + 2 = 8 rollouts on
    mixture   the prior of a Gaussian mixture, fitted to the earlier and the new rollouts (Levine & Abbeel, 2014)
    gp        the prior of a Gaussian process, fitted to 400 steps of the earlier rollouts
    physics   the prior of the arm's equations with links that are 50% too heavy
The error is that of the predicted change of state over 200 fresh rollouts, relative to its standard deviation at each
step, averaged over states and steps: 1 is as good as predicting the mean change.  Results go to
benchmarks/results/local_fits.json, the figure to docs/img/local_fits.svg.
"""

import statistics

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from common import ROOT, arguments, describe, hardware, save, table

from forethought.core import LinearGaussian
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.local_prior import prior_from_model
from forethought.dynamics.reacher import TwoLinkArm
from forethought.dynamics.space import StateSpace
from forethought.models import GMM, GP, fit_linear_gaussian

n, m, T = 4, 2, 40
COUNTS = (2, 3, 5, 8, 12, 20, 40)
EARLIER, PER_ITERATION = 4, 5  # iterations, and rollouts in each
NOISE = 0.1  # N m, of the controller
ACTUATOR = 0.002  # N m, of the torques that act
ARM = TwoLinkArm()
HEAVY = TwoLinkArm(mass1=0.75, mass2=0.75)
METHODS = ("none", "mixture", "gp", "physics")
LABELS = {
    "none": "no prior",
    "mixture": "mixture as prior",
    "gp": "Gaussian process as prior",
    "physics": "physics 50% too heavy as prior",
}


def main() -> None:
    flags = arguments(__doc__, seeds={"type": int, "default": 5, "help": "repetitions"})
    counts, seeds = (COUNTS[:3], 1) if flags.quick else (COUNTS, flags.seeds)
    jax.config.update("jax_enable_x64", True)
    each: list[dict] = []
    for seed in range(seeds):
        each.append(errors(seed, counts))
        show(counts, each)
        if not flags.quick:
            print(f"saved: {save('local_fits', report(counts, each))}", flush=True)
            draw(counts, each)


def report(counts, each) -> dict:
    """The results as they are saved."""
    return {"hardware": hardware(), "seeds": len(each), "rollouts": counts, "errors": each}


def show(counts, each) -> None:
    """The mean errors as a table."""
    means = {name: [average([one[name][i] for one in each]) for i in range(len(counts))] for name in METHODS}
    rows = [[count, *(means[name][i] for name in METHODS)] for i, count in enumerate(counts)]
    print(f"{len(each)} seeds; {describe(hardware())}")
    print(table(["rollouts", *METHODS], rows), flush=True)


def errors(seed: int, counts: tuple[int, ...]) -> dict[str, list[float | None]]:
    """The error of each method for each number of rollouts."""
    keys = jr.split(jr.key(seed), 6)
    goal = torques(keys[0])
    old = jnp.concatenate([
        rollouts(goal + 0.5**i * torques(jr.fold_in(keys[1], i)), PER_ITERATION, jr.fold_in(keys[2], i))
        for i in range(EARLIER)
    ])  # fmt: skip
    new, fresh = rollouts(goal, max(counts), keys[3]), rollouts(goal, 200, keys[4])
    process = learned_process(old, keys[5])
    found: dict[str, list[float | None]] = {name: [] for name in METHODS}
    for N in counts:
        z, y = new[:N, :, : n + m], new[:N, :, n + m :]
        mixture = mixture_prior(old, new[:N], keys[5])
        priors = {"none": None, "mixture": mixture, "gp": slopes(process, z), "physics": slopes(HEAVY, z)}
        for name, prior in priors.items():
            possible = prior is not None or n + m + 2 <= N
            found[name].append(float(error(fit(z, y, prior).conditional, fresh)) if possible else None)
    return found


def torques(key) -> jax.Array:
    """A smooth random sequence of torques [T, m]."""
    waves = jnp.sin(2 * jnp.pi * (jnp.arange(T)[:, None] / T * jnp.arange(1, 4)[None]))
    return 0.3 * waves @ jr.normal(key, (3, m))


@eqx.filter_jit
def rollouts(us, count: int, key) -> jax.Array:
    """[x; u; x'] of noisy executions of the torques `us`, [count, T, D]."""

    def one(key):
        start_key, noise_key, actuator_key = jr.split(key, 3)
        noisy = us + NOISE * jr.normal(noise_key, us.shape)
        x0 = jnp.array([0.5, 1.0, 0.0, 0.0]) + 0.02 * jr.normal(start_key, (n,))

        def step(x, inputs):
            u, error = inputs
            after = ARM(x, u + ACTUATOR * error, 0).mean
            return after, jnp.concatenate([x, u, after])

        return jax.lax.scan(step, x0, (noisy, jr.normal(actuator_key, us.shape)))[1]

    return jax.vmap(one)(jr.split(key, count))


def mixture_prior(old, new, key):
    """The prior of a mixture of all rollouts, at the steps of the new ones."""
    points = np.concatenate([np.asarray(a).reshape(-1, 2 * n + m) for a in (old, new)])
    mixture, _ = GMM(selection="rows").fit_density(points, key=key)
    return along(mixture, new)


def learned_process(old, key) -> LearnedDynamics:
    """A Gaussian process of the changes of state, from 400 steps."""
    rows = old.reshape(-1, 2 * n + m)[:: max(1, old.shape[0] * T // 400)]
    z, y = rows[:, : n + m], rows[:, n + m :] - rows[:, :n]
    model, _ = GP(restarts=1).fit(z, y, jnp.asarray(len(rows)), key=key)
    return LearnedDynamics(model, StateSpace(n))


fit = eqx.filter_jit(fit_linear_gaussian)
along = eqx.filter_jit(lambda mixture, points: jax.vmap(mixture.prior, 1)(points))
slopes = eqx.filter_jit(lambda model, z: prior_from_model(model, z, n))


@eqx.filter_jit
def error(local: LinearGaussian, fresh) -> jax.Array:
    """Relative error of the predicted changes of state."""
    z, after = fresh[..., : n + m], fresh[..., n + m :]
    change = after - z[..., :n]
    predicted = jnp.einsum("tij,ktj->kti", local.F, z) + local.f[None] - z[..., :n]
    return jnp.mean(jnp.sqrt(jnp.mean((predicted - change) ** 2, axis=0)) / jnp.std(change, axis=0))


def average(values: list[float | None]) -> float | None:
    """The mean; None where there are none."""
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None


def draw(counts, each) -> None:
    """Error by number of rollouts: the mean over seeds, and a band from the lowest to the highest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name in METHODS:
        shown = [(c, [one[name][i] for one in each]) for i, c in enumerate(counts) if each[0][name][i] is not None]
        at = [count for count, _ in shown]
        (line,) = axes.plot(at, [statistics.mean(values) for _, values in shown], marker=".", label=LABELS[name])
        low, high = ([f(values) for _, values in shown] for f in (min, max))
        axes.fill_between(at, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="rollouts", ylabel="relative error of the predicted change", xscale="log", yscale="log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "docs" / "img" / "local_fits.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
