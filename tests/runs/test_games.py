"""Experts on two MinAtar games, and their student, by the command line."""

import json
from types import SimpleNamespace
from unittest.mock import create_autospec

import numpy as np
import pytest

import forethought as ft
from forethought.cli.main import main
from forethought.policies.acting import Acting
from forethought.report.games_table import game_rows
from forethought.runs.games import GameScore, evaluate_games, mean_share
from forethought.runs.run import Run
from tests.envs.toy_games import DotExpert, dot_game

TINY = "--iterations 1 --rollouts.environments 4 --rollouts.steps 64 --rollouts.round-steps 128"
STUDENT = "--environments 4 --steps 64 --round-steps 128 --batch 16 --units 16"


def test_the_share_is_measured_from_random_actions():
    good, bad = (GameScore("a", (8.0, 6.0), expert, (1.0, 3.0)) for expert in ((10.0, 14.0), (1.0, 2.0)))
    assert good.share == pytest.approx(0.5) and good.as_json()["share"] == pytest.approx(0.5)
    assert bad.as_json()["share"] is None and mean_share([good, bad, good]) == pytest.approx(0.5)
    assert np.isnan(mean_share([bad]))
    assert [row[-1] for row in game_rows([good, bad])] == ["50%", "-", "50%"]


def test_both_players_sample_where_it_is_asked_for():
    """The most probable action always pays; a drawn one does so in a bit more than half of the steps."""
    game, policy = dot_game("toy/Two-v0", 2, 1), DotExpert(2, skill=0.5)
    algorithm = SimpleNamespace(
        environments_of=lambda env: [env],
        controller=lambda state, env: Acting(policy, mode=True),
        expert=lambda state, env: Acting(policy, mode=True),
    )
    run = create_autospec(Run, instance=True, algorithm=algorithm, env=game, state=None, info={"seed": 3})
    (modes,), (drawn,) = (evaluate_games(run, episodes=4, sampled=sampled) for sampled in (False, True))
    assert modes.student == (8.0,) * 4 and all(1 <= score < 8 for score in drawn.student)
    assert modes.student == modes.expert and drawn.student == drawn.expert  # the same keys


@pytest.mark.slow
def test_two_experts_and_their_student(tmp_path, capsys):
    pytest.importorskip("pgx")
    runs = {name: str(tmp_path / name) for name in ("Breakout", "Freeway", "both")}
    for game in ("Breakout", "Freeway"):
        words = ["train", "ppo-images", f"minatar/{game}", *TINY.split(), "--out", runs[game]]
        assert main(words) == 0, capsys.readouterr().err
    words = ["distill", runs["Breakout"], runs["Freeway"], *STUDENT.split(), "--out", runs["both"]]
    assert main([*words, "--iterations", "1"]) == 0, capsys.readouterr().err
    assert main([*words, "--iterations", "2", "--resume"]) == 0, capsys.readouterr().err
    run = ft.load(runs["both"])
    assert run.algorithm.games == ("MinAtar/Breakout-v1", "MinAtar/Freeway-v1")
    first, second = run.metrics
    assert "expert_return_Breakout" in first and "expert_return_Breakout" not in second
    assert first["env_steps"] == 2 * 128 and second["disagreement_Freeway"] <= 1
    capsys.readouterr()
    assert main(["evaluate", runs["both"], "--episodes", "1", "--json"]) == 0
    games = json.loads(capsys.readouterr().out)["games"]
    assert [one["game"] for one in games] == list(run.algorithm.games) and len(games[0]["returns"]) == 1
    stages = []
    evaluate_games(run, episodes=1, on_stage=stages.append)
    assert stages[:3] == [f"MinAtar/Breakout-v1, {who}" for who in ("student", "expert", "random actions")]
    assert len(stages) == 6
    for name in ("both", "Breakout"):
        assert main(["video", runs[name]]) == 0 and (tmp_path / name / "run.mp4").stat().st_size > 0
    assert main(["report", runs["both"], "--no-video"]) == 0
    page = (tmp_path / "both" / "report.html").read_text()
    assert "All games" in page and "experts[1].rollouts.environments" in page
    capsys.readouterr()
    assert main(["distill", runs["Breakout"], runs["Breakout"], "--out", str(tmp_path / "no")]) == 2
    assert "two runs were trained on MinAtar/Breakout-v1" in capsys.readouterr().err
