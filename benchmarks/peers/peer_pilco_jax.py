"""Moment matching in plain JAX, differentiated by JAX: the reference for `speed_pilco.py`; prints one JSON object.

Written from the formulas of Deisenroth & Rasmussen (2011) for one action and the cart-pole's cost, with nothing of the
library's: all N x N sums are written out, and automatic differentiation goes back through them.
Symbols: x ~ N(m, S) [4] position, speed, angle, angular speed; features s = [p, pdot, thetadot, sin, cos] [5];
z = [s; u] [6] the model's input, y [4] its output, the change of x; FEATURES are the places of s in [x; sin; cos].
"""

import argparse
import json
import resource
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

FEATURES = np.array([0, 1, 3, 4, 5])
HORIZON, FORCE, LENGTH, WIDTH = 40, 10.0, 0.5, 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="an .npz, as speed_pilco.py writes it")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    data = {name: jnp.asarray(array) for name, array in np.load(arguments.data).items()}
    names = ("centers", "targets", "log_lengthscale")
    parameters = {name: data[name] for name in names}
    model = {name: array for name, array in data.items() if name not in names}
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, start_cpu = time.perf_counter(), time.process_time()
    call = jax.jit(jax.value_and_grad(expected_cost)).lower(parameters, model).compile()
    compile_s, compile_cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    value, gradient = call(parameters, model)
    wall, cpu = [], []
    for _ in range(arguments.repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(call(parameters, model))
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    report = {
        "value": float(value),
        "gradient": np.concatenate([np.ravel(gradient[name]) for name in names]).tolist(),
        "compile_s": compile_s,
        "compile_cpu_s": compile_cpu_s,
        "median_s": statistics.median(wall),
        "best_s": min(wall),
        "cpu_s": statistics.median(cpu),
        "best_cpu_s": min(cpu),
        "memory_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024,
        "version": jax.__version__,
    }
    print(json.dumps(report))


def expected_cost(parameters, data):
    """Sum over the states 0 to HORIZON."""
    centers, lengthscale = parameters["centers"], jnp.exp(parameters["log_lengthscale"][0])
    scaled = centers / lengthscale
    K = jnp.exp(-0.5 * jnp.sum((scaled[:, None] - scaled[None]) ** 2, -1))
    weights = jnp.linalg.solve(K + 0.01**2 * jnp.eye(len(K)), parameters["targets"][:, 0])

    def step(belief, _):
        m, S = belief
        mean, cov = with_sine_and_cosine(m, S)
        seen_mean, seen_cov = with_sine_and_cosine(m, S + jnp.diag(data["noise"] ** 2 / 2))
        u_mean, u_var, F = act(
            seen_mean[FEATURES] / data["scale"],
            seen_cov[FEATURES][:, FEATURES] / jnp.outer(data["scale"], data["scale"]),
            centers,
            lengthscale,
            weights,
        )
        F = F / data["scale"]
        cross = cov[:, FEATURES] @ F
        mean, cov = jnp.append(mean, u_mean), jnp.block([[cov, cross[:, None]], [cross[None], u_var]])
        places = np.append(FEATURES, 6)
        y_mean, y_cov, slope = predict(mean[places], cov[places][:, places], data)
        x_y = cov[:4][:, places] @ slope.T
        return (m + y_mean, S + y_cov + x_y + x_y.T), cost(m, S)

    (m, S), costs = jax.lax.scan(step, (data["start_mean"], data["start_cov"]), None, length=HORIZON)
    return jnp.sum(costs) + cost(m, S)


def with_sine_and_cosine(m, S):
    """Of coordinate 2."""
    angle, v = m[2], S[2, 2]
    shrink, shrink2 = jnp.exp(-v / 2), jnp.exp(-2 * v)
    sine, cosine = shrink * jnp.sin(angle), shrink * jnp.cos(angle)
    ss = (1 - shrink2 * jnp.cos(2 * angle)) / 2 - sine**2
    cc = (1 + shrink2 * jnp.cos(2 * angle)) / 2 - cosine**2
    sc = shrink2 * jnp.sin(2 * angle) / 2 - sine * cosine
    cross = jnp.stack([S[:, 2] * cosine, -S[:, 2] * sine], axis=1)
    lower = jnp.stack([jnp.stack([ss, sc]), jnp.stack([sc, cc])])
    return jnp.append(m, jnp.stack([sine, cosine])), jnp.block([[S, cross], [cross.T, lower]])


def act(m, S, centers, lengthscale, weights):
    """Mean and variance of the squashed RBF policy, and `cov(s)^-1 cov(s, u)`."""
    v_mean, slope = kernel_mean(m, S, centers, lengthscale, 1.0, weights)
    L, det = kernel_pairs(m, S, centers, lengthscale, lengthscale, 1.0, 1.0)
    v_var = weights @ L @ weights * det - v_mean**2

    def wave(k):  # E cos(k v), E sin(k v)
        shrink = jnp.exp(-(k**2) * v_var / 2)
        return shrink * jnp.cos(k * v_mean), shrink * jnp.sin(k * v_mean)

    (c1, s1), (c2, _), (c3, s3), (c4, _), (c6, _) = (wave(k) for k in (1, 2, 3, 4, 6))
    mean = FORCE * (9 * s1 + s3) / 8
    square = 81 * (1 - c2) / 2 + 18 * (c2 - c4) / 2 + (1 - c6) / 2
    return mean, FORCE**2 * square / 64 - mean**2, slope * FORCE * (9 * c1 + 3 * c3) / 8


def predict(m, S, data):
    """Mean, covariance and mean slope of the Gaussian process."""
    lengthscale, signal, beta = data["lengthscale"], data["signal"], data["beta"]
    mean, slope = jax.vmap(lambda a, s, b: kernel_mean(m, S, data["z"], a, s, b))(lengthscale, signal, beta)
    rows, columns = np.triu_indices(4)

    def pair(a, b):
        L, det = kernel_pairs(m, S, data["z"], lengthscale[a], lengthscale[b], signal[a], signal[b])
        explained = jnp.where(a == b, jnp.sum(data["inverse"][a] * L), 0.0)
        return (beta[a] @ L @ beta[b] - explained) * det

    upper = jax.vmap(pair)(rows, columns)
    second = jnp.zeros((4, 4)).at[rows, columns].set(upper).at[columns, rows].set(upper)
    return mean + data["offset"], second + jnp.diag(signal**2) - jnp.outer(mean, mean), slope


def kernel_mean(m, S, z, lengthscale, signal, beta):
    """Equations 14 to 16: `E f` and `E df/dz`."""
    nu = (z - m) / lengthscale
    B = S / jnp.outer(lengthscale, lengthscale) + jnp.eye(len(m))
    t = jnp.linalg.solve(B, nu.T).T
    q = signal**2 * jnp.exp(-0.5 * jnp.sum(nu * t, 1)) / jnp.sqrt(jnp.linalg.det(B)) * beta
    return jnp.sum(q), (t / lengthscale).T @ q


def kernel_pairs(m, S, z, scale_a, scale_b, signal_a, signal_b):
    """Equation 22: Q as a matrix [N, N] and the factor before it."""
    nu = z - m
    P = 1 / scale_a**2 + 1 / scale_b**2
    R = S * P[None] + jnp.eye(len(m))
    T = jnp.linalg.solve(R, S) / 2
    left, right = nu / scale_a**2, nu / scale_b**2
    log_a = 2 * jnp.log(signal_a) - 0.5 * jnp.sum((nu / scale_a) ** 2, 1)
    log_b = 2 * jnp.log(signal_b) - 0.5 * jnp.sum((nu / scale_b) ** 2, 1)
    square = jnp.sum(left @ T * left, 1)[:, None] + jnp.sum(right @ T * right, 1)[None] + 2 * left @ T @ right.T
    return jnp.exp(log_a[:, None] + log_b[None] + square), 1 / jnp.sqrt(jnp.linalg.det(R))


def cost(m, S):
    """Equation 24, of the distance of the tip from its place."""
    mean, cov = with_sine_and_cosine(m, S)
    A = jnp.array([[1.0, 0, 0, 0, LENGTH, 0], [0, 0, 0, 0, 0, -LENGTH]])
    tip, spread = A @ mean - jnp.array([0, LENGTH]), A @ cov @ A.T / WIDTH**2 + jnp.eye(2)
    return 1 - jnp.exp(-0.5 * tip @ jnp.linalg.solve(spread, tip) / WIDTH**2) / jnp.sqrt(jnp.linalg.det(spread))


if __name__ == "__main__":
    main()
