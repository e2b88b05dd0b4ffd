"""tinygp's and GPJax's side of `speed_gp_fit.py`; prints one JSON object.

tinygp has kernels and the log evidence; the search is SciPy's L-BFGS-B, as ours, over the same logarithms from the same
start.  GPJax brings its own call of it (`fit_scipy`), from the same start.
"""

import argparse
import json
import statistics
import time
from importlib.metadata import version

import gpjax as gpx
import jax
import jax.numpy as jnp
import numpy as np
import tinygp
from scipy.optimize import minimize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--which", choices=["tinygp", "gpjax"])
    parser.add_argument("--data", help="an .npz with z [N, d] and y [N, e], standardized")
    parser.add_argument("--evaluations", type=int)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    data = np.load(arguments.data)
    fit = {"tinygp": by_tinygp, "gpjax": by_gpjax}[arguments.which]
    report = fit(data["z"], data["y"], arguments.evaluations)
    print(json.dumps(report | {"version": version(arguments.which)}))


def by_tinygp(z: np.ndarray, y: np.ndarray, evaluations: int) -> dict:
    d = z.shape[1]

    @jax.jit
    @jax.value_and_grad
    def loss(theta, y):
        scale = tinygp.transforms.Linear(jnp.exp(-theta[:d]), tinygp.kernels.ExpSquared())
        process = tinygp.GaussianProcess(jnp.exp(2 * theta[d]) * scale, z, diag=jnp.exp(2 * theta[d + 1]))
        return -process.log_probability(y)

    start = np.append(np.zeros(d + 1), np.log(0.1))
    before = time.perf_counter()
    jax.block_until_ready(loss(start, y[:, 0]))
    compile_s = time.perf_counter() - before
    times = []
    for _ in range(10):
        before = time.perf_counter()
        jax.block_until_ready(loss(start, y[:, 0]))
        times.append(time.perf_counter() - before)
    before = time.perf_counter()
    options = {"maxfun": evaluations, "maxiter": evaluations}
    ends = []
    for one in y.T:

        def f(theta, one=one):
            return tuple(np.asarray(a, np.float64) for a in loss(theta, one))

        limits = [(-7, 10)] * (d + 2)
        ends.append(minimize(f, start, jac=True, method="L-BFGS-B", bounds=limits, options=options))
    return {
        "fit_s": time.perf_counter() - before + compile_s,
        "compile_s": compile_s,
        "evaluation_s": statistics.median(times),
        "evidence": [-float(end.fun) for end in ends],
    }


def by_gpjax(z: np.ndarray, y: np.ndarray, evaluations: int) -> dict:
    def objective(model, data):
        return -gpx.objectives.conjugate_mll(model, data)

    before = time.perf_counter()
    evidence = []
    for one in y.T:
        kernel = gpx.kernels.RBF(lengthscale=jnp.ones(z.shape[1]), variance=1.0)
        prior = gpx.gps.Prior(mean_function=gpx.mean_functions.Zero(), kernel=kernel)
        model = prior * gpx.likelihoods.Gaussian(obs_stddev=0.1)
        data = gpx.Dataset(X=jnp.asarray(z), y=jnp.asarray(one)[:, None])
        _, history = gpx.fit_scipy(
            model=model, objective=objective, train_data=data, max_iters=evaluations, verbose=False
        )
        evidence.append(-float(history[-1]))
    return {"fit_s": time.perf_counter() - before, "evidence": evidence}


if __name__ == "__main__":
    main()
