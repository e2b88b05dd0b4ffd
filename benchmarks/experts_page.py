"""Tables and figure of docs/minatar_atari.md from saved results; `minatar.py` and `atari.py` call it last.

Only reporting seeds count.
"""

import statistics

from matplotlib.figure import Figure
from page import DOCS, interval_text, put_table, save_figure, unique
from rows import Row, reporting

PAGE = DOCS / "minatar_atari.md"


def write_page(name: str, published: dict[str, str]) -> None:
    """Whatever there are results of; `published`: score of each game, empty where none is known."""
    rows = reporting(name)
    experts = [row for row in rows if row["part"] == "expert"]
    students = [row for row in rows if row["part"] == "student"]
    if experts:
        put_table(PAGE, f"{name} experts", experts_table(experts, published))
        save_figure(f"{name}_experts", lambda figure: draw(figure, experts, published), height=2.6)
    if students:
        put_table(PAGE, f"{name} students", students_table(students))


def experts_table(rows: list[Row], published: dict[str, str]) -> list[list[str]]:
    """One line for each game."""
    table = [["game", "seeds", "return", "return in training, at the end", "published", "hours", "steps per second"]]
    for game in (game for game in published if any(row["game"] == game for row in rows)):
        seeds = [row for row in rows if row["game"] == game]
        cells = [interval_text([seed[name] for seed in seeds]) for name in ("mean", "training_return")]
        hours = statistics.median(seed["wall_s"] for seed in seeds) / 3600
        rate = statistics.median(seed["steps_per_s"] for seed in seeds)
        table.append([game, str(len(seeds)), *cells, published[game], f"{hours:.2f}", f"{rate:,.0f}"])
    return table


def students_table(rows: list[Row]) -> list[list[str]]:
    """One line for each loss, actor and length: shares of the experts' returns above those of random actions."""
    games = rows[0]["games"]
    table = [["loss", "who acts", "rounds", "episodes", "seeds", "mean share", *games, "hours"]]
    for kind in unique((row["loss"], row["data"], row["rounds"]) for row in rows):
        seeds = [row for row in rows if (row["loss"], row["data"], row["rounds"], row["games"]) == (*kind, games)]
        shares = [[seed["mean_share"] for seed in seeds]]
        shares += [[seed["scores"][k]["share"] for seed in seeds] for k in range(len(games))]
        hours = statistics.median(seed["wall_s"] for seed in seeds) / 3600
        known = [[share for share in one if share is not None] for one in shares]
        cells = [interval_text(one) if one else "-" for one in known]
        episodes = len(seeds[0]["scores"][0]["returns"])
        table.append([*map(str, kind), str(episodes), str(len(seeds)), *cells, f"{hours:.2f}"])
    return table


def draw(figure: Figure, rows: list[Row], published: dict[str, str]) -> None:
    """Return in training by environment steps, a panel for each game and a line for each seed."""
    games = [game for game in published if any(row["game"] == game for row in rows)]
    for ax, game in zip(figure.subplots(1, len(games), squeeze=False)[0], games, strict=True):
        for row in (row for row in rows if row["game"] == game):
            steps, returns, _ = zip(*row["curve"], strict=True)
            ax.plot([one / 1e6 for one in steps], returns, color="C0", lw=1, label=f"seed {row['seed']}")
        if published[game].isdigit():
            ax.axhline(float(published[game]), color="0.4", ls="--", lw=1)
        ax.set(title=game.rpartition("/")[2], xlabel="million steps")
    figure.axes[0].set_ylabel("return of an episode")
