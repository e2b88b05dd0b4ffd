"""Tables and figures of docs/trust_regions.md from saved results; `local_models.py` calls it last, or with --draw.

Only reporting seeds count.
"""

import statistics

import numpy as np
from matplotlib.figure import Figure
from page import DOCS, interval_text, median_text, put_table, save_figure, steps_text, unique
from rows import Row, reporting

PAGE = DOCS / "trust_regions.md"
COLORS = {"trust region": "C0", "no trust region": "C3", "gmm": "C0", "none": "C1"}


def write_page() -> None:
    """Whatever there are results of."""
    learned, regions, priors, searched = (
        reporting(f"local_models_{part}") for part in ("learn", "trust_region", "prior", "gps")
    )
    if learned:
        put_table(PAGE, "local models", learn_table(learned))
        put_table(PAGE, "time by part", time_table(learned))
    if regions:
        put_table(PAGE, "trust region", region_table(regions))
        save_figure("trust_region_contact", lambda figure: draw_regions(figure, regions), height=3.6)
    if priors:
        put_table(PAGE, "prior", prior_table(priors))
        save_figure("local_prior", lambda figure: draw_priors(figure, priors))
    if searched:
        put_table(PAGE, "gps", search_table(searched))


def learn_table(rows: list[Row]) -> list[list[str]]:
    """One line for each task."""
    table = [
        ["task", "initial conditions", "rollouts of each until solved", "to be solved in", "solved by then", "trials"]
    ]
    for task in unique(row["task"] for row in rows):
        some = [row for row in rows if row["task"] == task]
        within = [row for row in some if row["rollouts_to_solved"] and row["rollouts_to_solved"] <= row["claim"]]
        table.append(
            [
                task,
                str(len(some[0]["solved_at_end"])),
                steps_text([row["rollouts_to_solved"] for row in some]),
                str(some[0]["claim"]),
                f"{len(within)} of {len(some)} seeds",
                " ".join(str(sum(row["trials"])) for row in some) + f" of {len(some[0]['trials'])}",
            ]
        )
    return table


def time_table(rows: list[Row]) -> list[list[str]]:
    """Wall clock of a round by part."""
    table = [["task", "rollouts", "fits and prior", "step"]]
    for task in unique(row["task"] for row in rows):
        some = [row for row in rows if row["task"] == task]
        times = [statistics.median(row[name] for row in some) for name in ("rollouts_s", "fit_s", "step_s")]
        table.append([task, *(f"{time:.2f} s ({time / sum(times):.0%})" for time in times)])
    return table


def region_table(rows: list[Row]) -> list[list[str]]:
    """One line for each variant."""
    table = [
        ["variant", "seeds", "cost after the last round", "highest cost after round 3", "solved at the end", "trials"]
    ]
    for variant in unique(row["variant"] for row in rows):
        some = [row for row in rows if row["variant"] == variant]
        ends = [share for row in some for share in row["solved_at_end"]]
        trials = [one for row in some for one in row["trials"]]
        table.append(
            [
                variant,
                str(len(some)),
                interval_text([row["cost"] for row in some]),
                interval_text([max(line["cost"] for line in row["curve"][3:]) for row in some]),
                f"{np.mean(ends):.0%} of the initial conditions",
                f"{np.mean(trials):.0%}",
            ]
        )
    return table


def draw_regions(figure: Figure, rows: list[Row]) -> None:
    """Cost and successes by round, a thin line for each seed."""
    left, right = figure.subplots(1, 2)
    for variant in unique(row["variant"] for row in rows):
        some = [row for row in rows if row["variant"] == variant]
        costs = [[line["cost"] for line in row["curve"]] for row in some]
        solved = [[np.mean(line["solved"]) for line in row["curve"]] for row in some]
        for axes, curves, middle in ((left, costs, np.median), (right, solved, np.mean)):
            rounds = 1 + np.arange(len(curves[0]))
            for curve in curves:
                axes.plot(rounds, curve, color=COLORS[variant], linewidth=0.6, alpha=0.5)
            axes.plot(rounds, middle(curves, axis=0), color=COLORS[variant], label=variant)
    left.set(yscale="log", xlabel="round", ylabel="cost of the rollouts")
    right.set(xlabel="round", ylabel="share of initial conditions solved")
    left.legend(frameon=False, fontsize="small")


def prior_table(rows: list[Row]) -> list[list[str]]:
    """Solved runs and rollouts by rollouts per round."""
    table = [["prior", "rollouts per round", "seeds", "solved", "rollouts until solved", "cost after the last round"]]
    for variant in unique(row["variant"] for row in rows):
        for samples in unique(row["samples"] for row in rows if row["variant"] == variant):
            some = [row for row in rows if (row["variant"], row["samples"]) == (variant, samples)]
            steps = [row["rollouts_to_solved"] for row in some]
            table.append(
                [
                    variant,
                    str(samples),
                    str(len(some)),
                    f"{sum(one is not None for one in steps)} of {len(steps)}",
                    median_text([one for one in steps if one is not None]),
                    interval_text([row["cost"] for row in some]),
                ]
            )
    return table


def draw_priors(figure: Figure, rows: list[Row]) -> None:
    """Cost by rollouts spent, for each number of rollouts per round."""
    variants = unique(row["variant"] for row in rows)
    for axes, variant in zip(figure.subplots(1, len(variants), sharey=True, squeeze=False)[0], variants, strict=True):
        for samples in unique(row["samples"] for row in rows if row["variant"] == variant):
            some = [row for row in rows if (row["variant"], row["samples"]) == (variant, samples)]
            costs = np.median([[line["cost"] for line in row["curve"]] for row in some], axis=0)
            axes.plot(samples * (1 + np.arange(len(costs))), costs, marker=".", label=f"{samples} per round")
        axes.set(xscale="log", yscale="log", xlabel="rollouts", title=f"prior: {variant}")
        axes.legend(frameon=False, fontsize="small")
    figure.axes[0].set_ylabel("cost of the rollouts, median over seeds")


def search_table(rows: list[Row]) -> list[list[str]]:
    """Success of the policy and of the local controllers."""
    table = [
        [
            "task",
            "seeds",
            "rollouts",
            "policy, own starts",
            "local, own starts",
            "policy, new starts",
            "local, new starts",
        ]
    ]
    for task in unique(row["task"] for row in rows):
        some = [row for row in rows if row["task"] == task]
        shares = (
            f"{np.mean([one for row in some for one in row[name]]):.0%}"
            for name in ("policy_own", "local_own", "policy_new", "local_new")
        )
        table.append([task, str(len(some)), str(some[0]["rollouts"]), *shares])
    return table
