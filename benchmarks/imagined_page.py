"""Table and figure of docs/imagined.md from saved results; `imagined.py` calls it last, or with --draw.

Only reporting seeds count.  SAC's results are those of learners.py.
"""

import json
import statistics

from common import RESULTS
from matplotlib.figure import Figure
from page import DOCS, interval_text, put_table, save_figure

PAGE = DOCS / "imagined.md"
SIDES = {
    "value gradients": "imagined_cheetah_value_gradients_50k",
    "MBPO": "imagined_cheetah_mbpo",
    "SAC": "learners_cheetah_sac",
}
AT = (15_000, 25_000, 50_000)  # real steps
# Returns of tests at 25,000 and 50,000 steps: medians where the sources have them, means otherwise
PUBLISHED = {"DHMBPO": (5306, 7356), "DHMBPO, best variants": (7796, 9691), "MBPO": (5071, 7945), "SAC": (4403, 5733)}
LAST = 3  # episodes before a number of steps whose mean return is its return


def write_page() -> None:
    """Whatever there are results of."""
    sides = {side: seeds for side, name in SIDES.items() if (seeds := reporting(name))}
    if sides:
        put_table(PAGE, "half-cheetah", table_of(sides))
        save_figure("imagined_cheetah", lambda figure: draw(figure, sides), width=7, height=3.6)


def reporting(name: str) -> list[dict]:
    """The reporting seeds of an experiment."""
    path = RESULTS / f"{name}.json"
    seeds = json.loads(path.read_text())["seeds"] if path.exists() else []
    return [seed for seed in seeds if seed["seed_kind"] == "reporting"]


def table_of(sides: dict[str, list[dict]]) -> list[list[str]]:
    """One line for each algorithm, then the published returns."""
    head = ["algorithm", "seeds", *(f"return at {steps:,} steps" for steps in AT), "evaluated at the end", "hours"]
    table = [head]
    for side, seeds in sides.items():
        cells = []
        for steps in AT:
            values = [value for seed in seeds if (value := return_at(seed, steps)) is not None]
            cells.append(interval_text(values, digits=4) if values else "-")
        ends = interval_text([seed["evaluation"]["mean"] for seed in seeds], digits=4)
        hours = statistics.median(seed["wall_s"] for seed in seeds) / 3600
        end = f"{ends} at {seeds[0]['env_steps']:,}"
        table.append([side, str(len(seeds)), *cells, end, f"{hours:.1f}"])
    for name, (early, late) in PUBLISHED.items():
        table.append([f"{name}, published", "", "", f"{early:,}", f"{late:,}", "", ""])
    return table


def return_at(seed: dict, steps: int) -> float | None:
    """The mean return of the last episodes before so many real steps; None if the run ended before."""
    lines = [line["return_mean"] for line in seed["curve"] if line["env_steps"] <= steps]
    return statistics.mean(lines[-LAST:]) if seed["curve"][-1]["env_steps"] >= steps else None


def draw(figure: Figure, sides: dict[str, list[dict]]) -> None:
    """Return by real steps, a line for each seed, and published returns as markers."""
    ax = figure.subplots()
    for i, (side, seeds) in enumerate(sides.items()):
        for seed in seeds:
            steps = [line["env_steps"] / 1000 for line in seed["curve"]]
            label = side if seed is seeds[0] else None
            ax.plot(steps, [line["return_mean"] for line in seed["curve"]], color=f"C{i}", lw=1.2, label=label)
    for marker, (name, values) in zip("sDv^", PUBLISHED.items(), strict=True):
        ax.plot((25, 50), values, marker, color="0.4", ms=5, label=f"{name}, published")
    ax.set(xlabel="real steps, thousands", ylabel="return of an episode", xlim=(0, 52), title="HalfCheetah-v5")
    ax.legend(fontsize=7, loc="upper left")


if __name__ == "__main__":
    write_page()
