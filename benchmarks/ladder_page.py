"""Tables and figures of docs/ladder.md from saved results; `ladder.py` calls it at its end, or alone with --draw.

Only reporting seeds count.
"""

import json
import statistics

import numpy as np
from common import RESULTS
from matplotlib.figure import Figure
from page import DOCS, REPS, interval_text, median_text, put_table, save_figure, steps_text, unique
from rows import Row, reporting

PAGE = DOCS / "ladder.md"
STEP_TICKS = (50, 100, 200, 500, 1000)
LEARNERS = {"policy gradient": "policy_gradient", "PPO": "ppo", "SAC": "sac"}
EXPERIMENT_OF = {"pendulum": "pendulum", "cart-pole": "cartpole", "reacher": "reacher"}  # names in learners.py


def write_page() -> None:
    """Whatever there are results of."""
    from ladder import RUNGS

    order = list(RUNGS)
    learned, errors, worse, gradients, physics = (
        sorted(reporting(f"ladder_{part}"), key=lambda row: order.index(row.get("rung", order[0])))
        for part in ("learn", "error", "worsen", "gradients", "physics")
    )
    for task in unique(row["task"] for row in learned):
        put_table(PAGE, f"learn {task}", learn_table([row for row in learned if row["task"] == task]))
    if learned:
        save_figure("ladder_return", lambda figure: draw_returns(figure, learned))
        put_table(PAGE, "sample efficiency", efficiency_table(learned))
    if errors:
        error = ("rmse", "steps ahead", "error / spread of the data")
        save_figure("ladder_error", lambda figure: draw_by_step(figure, errors, *error))
    whole_plans = [row for row in errors if row.get("drift")]
    if whole_plans:
        drift = ("drift", "steps of the plan", "drift / spread of the data")
        save_figure("ladder_drift", lambda figure: draw_by_step(figure, whole_plans, *drift))
    if worse:
        save_figure("ladder_worsen", lambda figure: draw_worse(figure, worse))
        put_table(PAGE, "worsen", worse_table(worse))
    if gradients:
        save_figure("ladder_gradients", lambda figure: draw_gradients(figure, gradients), height=5.2)
        put_table(PAGE, "gradients", gradient_table(gradients))
    if physics:
        put_table(PAGE, "physics", physics_table(physics))


def learn_table(rows: list[Row]) -> list[list[str]]:
    """One line for each rung."""
    table = [["rung", "seeds", "return", "successes", "real steps until solved", "first plan's drift", "last plan's"]]
    for rung in unique(row["rung"] for row in rows):
        some = [row for row in rows if row["rung"] == rung]
        drifts = [[line["drift"] for line in row["curve"] if line["drift"] is not None] for row in some]
        known = [drift for drift in drifts if drift]
        solved = [row["success"] for row in some if row["success"] is not None]
        table.append(
            [
                rung,
                str(len(some)),
                interval_text([row["mean"] for row in some]),
                f"{100 * statistics.mean(solved):.0f}%" if solved else "-",
                steps_text([row["steps_to_solved"] for row in some]) if solved else "-",
                median_text([drift[0] for drift in known]),
                median_text([drift[-1] for drift in known]),
            ]
        )
    return table


def efficiency_table(learned: list[Row]) -> list[list[str]]:
    """Real steps until solved of each learner, over those of the best rung and of PETS."""
    table = [["task", "learner", "solved", "real steps until solved", "times PETS", "times the quickest rung"]]
    for task, name in EXPERIMENT_OF.items():
        rungs = {
            rung: [row["steps_to_solved"] for row in learned if (row["task"], row["rung"]) == (task, rung)]
            for rung in unique(row["rung"] for row in learned if row["task"] == task)
        }
        whole = {rung: steps for rung, steps in rungs.items() if len(steps) >= 5 and all(steps)}
        if not whole:
            continue
        quickest = min(whole, key=lambda rung: statistics.median(whole[rung]))
        for label, learner in LEARNERS.items():
            path = RESULTS / f"learners_{name}_{learner}.json"
            if not path.exists():
                continue
            seeds = [one for one in json.loads(path.read_text())["seeds"] if one["seed_kind"] == "reporting"]
            steps, most = [one["steps_to_solved"] for one in seeds], max((one["env_steps"] for one in seeds), default=0)
            table.append(
                [
                    task,
                    label,
                    f"{sum(one is not None for one in steps)} of {len(steps)}",
                    steps_text(steps, most),
                    ratio_text(steps, whole.get("pets"), most),
                    f"{ratio_text(steps, whole[quickest], most)} ({quickest})",
                ]
            )
    return table


def ratio_text(steps: list[int | None], ours: list[int] | None, most: int) -> str:
    """Ratio of medians with its interval; "over" where half of the runs or more never solved the task."""
    if not ours:
        return "-"
    rng = np.random.default_rng(0)
    a, b = np.array([one or most for one in steps], float), np.array(ours, float)
    samples = [np.median(rng.choice(a, len(a))) / np.median(rng.choice(b, len(b))) for _ in range(REPS)]
    low, high = np.quantile(samples, [0.025, 0.975])
    over = "over " if sum(one is None for one in steps) * 2 >= len(steps) else ""
    return f"{over}{np.median(a) / np.median(b):.0f} ({low:.0f} - {high:.0f})"


def worse_table(rows: list[Row]) -> list[list[str]]:
    """Success by factor on masses and friction."""
    factors = sorted(unique(row["factor"] for row in rows))
    table = [["task", "acts by", *(f"x {factor:g}" for factor in factors)]]
    for task in unique(row["task"] for row in rows):
        for acting in unique(row["acting"] for row in rows):
            some = [row for row in rows if (row["task"], row["acting"]) == (task, acting)]
            cells = [[row for row in some if row["factor"] == factor] for factor in factors]
            table.append([task, acting, *(worse_cell(cell) for cell in cells)])
    return table


def worse_cell(rows: list[Row]) -> str:
    """Median return, and how many episodes solved the task."""
    if not rows:
        return "-"
    return (
        f"{statistics.median(row['return'] for row in rows):.3g} ({sum(row['solved'] for row in rows)} of {len(rows)})"
    )


def gradient_table(rows: list[Row]) -> list[list[str]]:
    """Norm and noise of the gradient by horizon."""
    horizons = rows[0]["horizon"]
    table = [["task", "estimator", "", *(str(h) for h in horizons)]]
    for task in unique(row["task"] for row in rows):
        for estimator in unique(row["estimator"] for row in rows):
            some = [row for row in rows if (row["task"], row["estimator"]) == (task, estimator)]
            for what in ("norm", "std") if some else ():
                values = [[row[what][i] for row in some if row[what][i] is not None] for i in range(len(horizons))]
                cells = [f"{statistics.median(v):.2g}" if v else "not finite" for v in values]
                table.append([task, estimator, "norm" if what == "norm" else "spread of one rollout", *cells])
    return table


def physics_table(rows: list[Row]) -> list[list[str]]:
    """With and without physics."""
    table = [["task", "knows", "return", "successes", "trials until solved"]]
    for task in unique(row["task"] for row in rows):
        for knows in unique(row["knows"] for row in rows):
            some = [row for row in rows if (row["task"], row["knows"]) == (task, knows)]
            if not some:
                continue
            trials = [first_solved(row) for row in some] if "curve" in some[0] else []
            table.append(
                [
                    task,
                    knows,
                    interval_text([row["mean"] for row in some]),
                    f"{100 * statistics.mean(row['success'] for row in some):.0f}%",
                    steps_text(trials) if trials else "-",
                ]
            )
    return table


def first_solved(row: Row) -> int | None:
    """Number of the first trial that solved the task."""
    return next((i + 1 for i, line in enumerate(row["curve"]) if line["solved"]), None)


def draw_returns(figure: Figure, rows: list[Row]) -> None:
    """Return by real steps: median and range over seeds, a panel for each task."""
    tasks = unique(row["task"] for row in rows)
    for task, axes in zip(tasks, figure.subplots(1, len(tasks), squeeze=False)[0], strict=True):
        for rung in unique(row["rung"] for row in rows if row["task"] == task):
            curves = [row["curve"] for row in rows if (row["task"], row["rung"]) == (task, rung)]
            length = min(len(curve) for curve in curves)
            steps = [curves[0][i]["env_steps"] for i in range(length)]
            returns = np.array([[curve[i]["return"] for i in range(length)] for curve in curves])
            color = color_of(rung)
            axes.plot(steps, np.median(returns, axis=0), color=color, label=rung)
            axes.fill_between(steps, returns.min(axis=0), returns.max(axis=0), color=color, alpha=0.12, linewidth=0)
        axes.set(title=task, xlabel="real steps", ylabel="return", xscale="log")
        axes.set_xticks(STEP_TICKS, [str(tick) for tick in STEP_TICKS])
        axes.minorticks_off()
    legend_below(figure)


def draw_by_step(figure: Figure, rows: list[Row], what: str, xlabel: str, ylabel: str) -> None:
    """The median over seeds of a curve of each rung, a panel for each task."""
    tasks = unique(row["task"] for row in rows)
    for task, axes in zip(tasks, figure.subplots(1, len(tasks), squeeze=False)[0], strict=True):
        for rung in unique(row["rung"] for row in rows if row["task"] == task):
            some = [row[what] for row in rows if (row["task"], row["rung"]) == (task, rung)]
            axes.plot(*median_by_step(some), label=rung, color=color_of(rung))
        axes.set(title=task, xlabel=xlabel, ylabel=ylabel, yscale="log")
    legend_below(figure)


def legend_below(figure: Figure) -> None:
    """One legend for all panels, whose lines of one label have one color."""
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=5, fontsize="small", frameon=False
    )


def color_of(rung: str) -> str:
    """The same for a rung in every panel."""
    from ladder import RUNGS

    return f"C{list(RUNGS).index(rung) % 10}"


def median_by_step(curves: list[list[float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Steps from 1 on, and the median over the curves that reach them."""
    length = max(len(curve) for curve in curves)
    padded = np.full((len(curves), length), np.nan)
    for line, curve in zip(padded, curves, strict=True):
        line[: len(curve)] = [np.nan if value is None else value for value in curve]
    return np.arange(1, length + 1), np.nanmedian(padded, axis=0)


def draw_worse(figure: Figure, rows: list[Row]) -> None:
    """Return by the factor on the model's masses: median and range over seeds."""
    tasks = unique(row["task"] for row in rows)
    for task, axes in zip(tasks, figure.subplots(1, len(tasks), squeeze=False)[0], strict=True):
        for number, acting in enumerate(unique(row["acting"] for row in rows)):
            some = [row for row in rows if (row["task"], row["acting"]) == (task, acting)]
            factors = sorted(unique(row["factor"] for row in some))
            returns = [[row["return"] for row in some if row["factor"] == factor] for factor in factors]
            axes.plot(factors, [statistics.median(r) for r in returns], marker=".", label=acting, color=f"C{number}")
            lowest, highest = [min(r) for r in returns], [max(r) for r in returns]
            axes.fill_between(factors, lowest, highest, color=f"C{number}", alpha=0.12, linewidth=0)
        axes.set(title=task, xlabel="factor on the model's masses and friction", ylabel="return", xscale="log")
        axes.set_xticks(factors, [f"{factor:g}" for factor in factors], minor=False)
        axes.minorticks_off()
    figure.axes[0].legend(fontsize="x-small")


def draw_gradients(figure: Figure, rows: list[Row]) -> None:
    """Norm (full) and spread (dashed) by horizon, and the spectral radius along an imagined episode."""
    tasks = unique(row["task"] for row in rows)
    panels = figure.subplots(2, len(tasks), squeeze=False)
    for task, upper, lower in zip(tasks, *panels, strict=True):
        for number, estimator in enumerate(unique(row["estimator"] for row in rows)):
            some = [row for row in rows if (row["task"], row["estimator"]) == (task, estimator)]
            for what, style in (("norm", "-"), ("std", "--")):
                _, values = median_by_step([row[what] for row in some])
                label = estimator if what == "norm" else None
                upper.plot(some[0]["horizon"], values, style, color=f"C{number}", label=label, marker=".")
        some = [row for row in rows if (row["task"], row["estimator"]) == (task, "pathwise")]
        lower.plot(*median_by_step([row["spectral_radius"] for row in some]), label="spectral radius of one step")
        steps, product = median_by_step([row["product"] for row in some])
        lower.plot(steps, product, label="growth of a deviation since the first step")
        lower.axhline(1, color="0.6", linewidth=0.8)
        upper.set(title=task, xlabel="horizon (steps)", ylabel="gradient", xscale="log", yscale="log")
        lower.set(xlabel="steps", yscale="log")
    panels[0][0].legend(fontsize="x-small", title="full: norm, dashed: spread")
    panels[1][0].legend(fontsize="x-small")
