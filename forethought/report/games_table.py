"""The section of a report on a student of several games: its score and its expert's in each game."""

from collections.abc import Callable
from typing import Any

import numpy as np

from forethought.report.page import Section, Table
from forethought.report.record import number
from forethought.runs.games import GameScore, evaluate_games, mean_share, plays_several_games

HEAD = ("game", "student", "expert", "random actions", "share kept")


def games_sections(
    run: Any, *, episodes: int, seed: int | None, on_stage: Callable[[str], object] | None = None
) -> list[Section]:
    """A table of all games; nothing for a run of one environment; `on_stage` as in `evaluate_games`."""
    if not plays_several_games(run.algorithm):
        return []
    scores = evaluate_games(run, episodes=episodes, seed=seed, on_stage=on_stage)
    text = (
        f"Mean return of {episodes} new episodes of the student and of the expert that it learned from, by their most "
        "probable actions. Share kept: (student - random) / (expert - random), if the expert is better than random. "
        "The rest of this page is about the first game."
    )
    return [Section("All games", text=[text], table=Table(HEAD, game_rows(scores)))]


def game_rows(scores: list[GameScore]) -> list[list[str]]:
    """One row for each game, and the mean share."""
    rows = [
        [score.game, *(number(float(np.mean(some)), 3) for some in (score.student, score.expert, score.random))]
        + [_percent(score.share)]
        for score in scores
    ]
    return [*rows, ["mean", "", "", "", _percent(mean_share(scores))]]


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.0%}"
