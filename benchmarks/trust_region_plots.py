"""The plots of docs/trust_regions.md.

    python benchmarks/trust_region_plots.py                                 # controller, dual ascent, step; and runs
    python benchmarks/trust_region_plots.py --run runs/peg --out docs/img   # the trust region of one run

Writes to docs/img:
    controller.svg     the maximum-entropy controller of a point mass with two targets (`forethought plot controller`)
    dual_ascent.svg    left: the duality gap of a projection onto a polyhedron, closed by gradient ascent; right: that
                       of one trust-region step on the point mass, closed by bracketing
    eta.svg            the same step for a range of multipliers: from LQR to the old controller
    trust_region.svg   cost, KL divergence, multiplier and improvement of each round of a run of local models: of --run,
                       or the first row of peg insertion in benchmarks/results/local_models_learn.json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, ROOT

sys.path.insert(0, str(ROOT))

EPSILON = 20.0  # nats, of the step on the point mass
A, TARGET, BOUND = np.array([[1.0, 1.0], [2.0, -1.0]]), np.array([2.0, 1.0]), np.array([1.0, 0.5])  # of the projection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run of local-models or gps")
    parser.add_argument("--task", default="peg", help="task in the results, without --run")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "img")
    flags = parser.parse_args()
    lines = rounds(flags)
    if flags.run is None:
        from forethought.report import plot_controller

        plot_controller(out=flags.out / "controller.svg")
        (flags.out / "dual_ascent.svg").write_bytes(dual_picture())
        (flags.out / "eta.svg").write_bytes(eta_picture())
    if lines is None:
        print("no run: trust_region.svg was not drawn")
        return
    from forethought.report.trust_region import trust_region_picture

    (flags.out / "trust_region.svg").write_bytes(trust_region_picture(lines))


def rounds(flags: argparse.Namespace) -> list[dict[str, Any]] | None:
    """The metrics of every round of the run."""
    if flags.run is not None:
        return [json.loads(line) for line in (flags.run / "metrics.jsonl").read_text().splitlines()]
    results = RESULTS / "local_models_learn.json"
    rows = json.loads(results.read_text())["rows"] if results.exists() else []
    return next((row["curve"] for row in rows if row["task"] == flags.task), None)


def dual_picture() -> bytes:
    """Primal and dual value by iteration."""
    import jax
    import jax.numpy as jnp

    from forethought.planning.dual_ascent import Minimum, dual_gradient_ascent
    from forethought.report.plots import drawn

    def project(lam):
        """Minimize 0.5 |x - TARGET|^2 subject to A x <= BOUND."""
        x = TARGET - A.T @ lam
        return Minimum(x, 0.5 * jnp.sum((x - TARGET) ** 2), A @ x - BOUND)

    with jax.enable_x64(True):
        ascent = dual_gradient_ascent(project, jnp.zeros(2), step_size=0.25, iterations=60, tolerance=1e-9).history
        step = textbook_step(tolerance=1e-6).history

    def draw(figure) -> None:
        titles = ("gradient ascent, two constraints", f"bracketing, KL below {EPSILON:.0f} nats")
        for axes, history, title in zip(figure.subplots(1, 2), (ascent, step), titles, strict=True):
            values(axes, history, title)
            axes.set_xlabel("iteration" if history is ascent else "LQR solution")
        figure.axes[1].set_yscale("log")

    return drawn(draw, 9.4, 3.2)


def values(axes, history, title: str) -> None:
    """One panel."""
    from forethought.report.plots import SERIES

    primal, dual = np.asarray(history.primal), np.asarray(history.dual)
    at = np.arange(1, 1 + int(np.isfinite(dual).sum()))
    axes.plot(at, primal[: len(at)], color=SERIES[1], marker="o", markersize=3, label="primal f(x)")
    axes.plot(at, dual[: len(at)], color=SERIES[0], marker="o", markersize=3, label="dual d(lambda)")
    axes.set(ylabel="value", title=title)
    axes.legend(loc="best")


def eta_picture() -> bytes:
    """KL divergence, expected cost and exploration for a range of multipliers."""
    import jax
    import jax.numpy as jnp

    from forethought.planning.trust_region import expected_costs, penalized_step, trajectory_kl
    from forethought.report.controller_picture import textbook_problem
    from forethought.report.plots import INK, SERIES, drawn

    with jax.enable_x64(True):
        dynamics, cost, final, initial = textbook_problem()
        old, found = textbook_old(), textbook_step(tolerance=1e-6)

        @jax.jit
        @jax.vmap
        def at(eta):
            policy = penalized_step(dynamics, cost, final, old, eta).policy
            kl = jnp.sum(trajectory_kl(policy, old, dynamics, initial))
            total = jnp.sum(expected_costs(policy, dynamics, cost, final, initial))
            return kl, total, jnp.sqrt(jnp.mean(policy.cov[:, 0, 0]))

        etas = np.geomspace(1e-4, 1e6, 121)
        curves = [np.asarray(one) for one in at(jnp.asarray(etas))]

    def draw(figure) -> None:
        names = ("KL divergence (nats)", "expected cost", "std of the force (N)")
        for axes, name, curve in zip(figure.subplots(1, 3), names, curves, strict=True):
            axes.loglog(etas, curve, color=SERIES[0])
            axes.axvline(float(found.eta), color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.set(xlabel="lambda (cost per nat)", ylabel=name)
        figure.axes[0].axhline(EPSILON, color=INK, linewidth=1, linestyle=(0, (4, 3)))

    return drawn(draw, 9.4, 2.8)


def textbook_old():
    """No feedback, forces of mean 0 and standard deviation 1 N."""
    import jax.numpy as jnp

    from forethought.core import LinearGaussian

    return LinearGaussian(jnp.zeros((100, 1, 2)), jnp.zeros((100, 1)), jnp.ones((100, 1, 1)))


def textbook_step(tolerance: float):
    """The trust-region step of the point mass from there."""
    import jax

    from forethought.planning.trust_region import constrained_step
    from forethought.report.controller_picture import textbook_problem

    dynamics, cost, final, initial = textbook_problem()
    return jax.jit(constrained_step)(
        dynamics, cost, final, textbook_old(), initial, EPSILON, eta=1.0, temperature=0.0, tolerance=tolerance
    )


if __name__ == "__main__":
    main()
