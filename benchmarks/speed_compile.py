"""Time to the first result of each planner and algorithm: tracing, compilation and first call, in fresh processes.

    python benchmarks/speed_compile.py
    python benchmarks/speed_compile.py --only icem cem

No compilation cache.  A planner plans once for the cart-pole swing-up with default settings; "first call" is the plan.
An algorithm does its first two rounds of `forethought train` there with default settings: "trace" (without the tracing
to jaxprs) and "compile" are sums over all of its programs, which later rounds use again; "first call" is the rest,
which is mostly learning and planning itself.  Wall clock; "cpu" is the processor time of all, which depends less on
other work of the machine.
"""

import json
import time

from common import arguments, describe, hardware, ours, save, summary, table

ENV = "forethought/CartPoleSwingUp-v0"
PLANNERS = ("random-shooting", "mppi", "cem", "icem", "gradient-shooting", "ilqr")
ALGORITHMS = ("pets", "pilco")
PHASES = ("trace", "compile", "first_call")
EVENTS = {  # of JAX; not the tracing to jaxprs, whose reports overlap: it counts as the first call
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "trace_s",
    "/jax/core/compile/backend_compile_duration": "compile_s",
}


def main() -> None:
    flags = arguments(
        __doc__,
        repeats={"type": int, "default": 3, "help": "fresh processes for each"},
        only={"nargs": "+", "choices": PLANNERS + ALGORITHMS, "default": PLANNERS + ALGORITHMS, "metavar": "NAME"},
    )
    if flags.measure:
        name = flags.only[0]
        print(json.dumps(measure_algorithm(name) if name in ALGORITHMS else measure_planner(name)))
        return
    machine = hardware()
    repeats = 1 if flags.quick else flags.repeats
    names = flags.only[:1] if flags.quick else flags.only
    report = {"hardware": machine, "repeats": repeats, "threads": flags.threads, "results": {}}
    for name in names:
        turns = [ours(__file__, "--only", name, "--threads", flags.threads) for _ in range(repeats)]
        keys = [key for key in turns[0] if key.endswith("_s")]
        report["results"][name] = {key: summary([turn[key] for turn in turns]) for key in keys}
        print(f"{name}: first result after {report['results'][name]['total_s']['median']:.1f} s", flush=True)
    show(report)
    if not flags.quick:
        print(f"saved: {save('speed_compile', report)}")


def show(report: dict) -> None:
    """The table, medians in s."""
    print(describe(report["hardware"]))
    columns = [*(f"{phase}_s" for phase in PHASES), "total_s", "cpu_s"]
    rows = [
        [name, *(result[column]["median"] if column in result else None for column in columns)]
        for name, result in report["results"].items()
    ]
    print(table(["median, s", *(column.removesuffix("_s").replace("_", " ") for column in columns)], rows))


def measure_planner(name: str) -> dict:
    """One plan, in this process."""
    import equinox as eqx
    import jax
    import jax.random as jr

    from forethought.cli.settings_reader import read_settings
    from forethought.envs.mujoco.known_model import known_system
    from forethought.registry import PLANNERS as REGISTERED

    jax.config.update("jax_enable_compilation_cache", False)
    _, problem = known_system(ENV)
    x0, key = jax.block_until_ready((problem.task.initial(key=jr.key(0)), jr.key(1)))
    planner = read_settings(REGISTERED[name]).construct({})
    marks = [(time.perf_counter(), time.process_time())]
    state = planner.init(problem)
    arrays, static = eqx.partition((problem, state), eqx.is_array)

    def plan(arrays, x0, key):
        problem, state = eqx.combine(arrays, static)
        return planner.plan(problem, x0, state, key=key)

    lowered = jax.jit(plan).lower(arrays, x0, key)
    marks.append((time.perf_counter(), time.process_time()))
    program = lowered.compile()
    marks.append((time.perf_counter(), time.process_time()))
    jax.block_until_ready(program(arrays, x0, key))
    marks.append((time.perf_counter(), time.process_time()))
    phases = {f"{phase}_s": marks[i + 1][0] - marks[i][0] for i, phase in enumerate(PHASES)}
    return phases | {"total_s": marks[-1][0] - marks[0][0], "cpu_s": marks[-1][1] - marks[0][1]}


def measure_algorithm(name: str) -> dict:
    """The first rounds of a training, up to and with the first that uses the model, in this process."""
    import jax
    import jax.random as jr

    from forethought.cli.settings_reader import read_settings
    from forethought.envs.shipped import shipped
    from forethought.registry import ALGORITHMS as REGISTERED

    jax.config.update("jax_enable_compilation_cache", False)
    spent = {"trace_s": 0.0, "compile_s": 0.0}

    def record(event: str, duration: float, **_) -> None:
        if event in EVENTS:
            spent[EVENTS[event]] += duration

    algorithm, env = read_settings(REGISTERED[name]).construct({}), shipped(ENV)
    jax.monitoring.register_event_duration_secs_listener(record)
    start = time.perf_counter(), time.process_time()
    state = algorithm.init(env, key=jr.key(0))
    for i in range(2):
        state, _ = algorithm.iterate(state, env, key=jr.key(i))
    jax.block_until_ready(jax.tree.leaves(state))
    total = time.perf_counter() - start[0]
    rest = {"first_call_s": total - sum(spent.values()), "total_s": total, "cpu_s": time.process_time() - start[1]}
    return spent | rest


if __name__ == "__main__":
    main()
