"""Runs compared: which count, what is computed of them, and what is refused or said."""

import copy
import json

import numpy as np
import pytest
from scipy.stats import trim_mean

from forethought.cli.main import main
from forethought.core import UsageError
from forethought.report import compare, html, write_report
from forethought.report.comparison_text import as_json, summary
from forethought.runs.files import write_json
from tests.report.fakes import fake_run
from tests.report.test_page import outside

ENVS = ("fake/Oscillator-v0", "fake/Other-v0")


def run(folder, seed=0, returns=(1.0, 2.0, 3.0), *, algorithm="PETS", env=ENVS[0], horizon=6, status="done", **more):
    """A run whose rounds have 100 steps each, on an environment without a test of success."""
    path = folder / f"{algorithm}-{horizon}-{env.split('/')[-1]}-{seed}"
    lines = [
        {
            "iteration": i + 1,
            "env_steps": 100 * (i + 1),
            "return": value,
            "return_mean": value,
            "solved": None,
            "model_error": None,
            "wall_s": 2.0 * (i + 1),
            "experience_s": 5.0 * (i + 1),
        }
        for i, value in enumerate(returns)
    ]
    made = fake_run(path, seed=seed, metrics=lines)
    made.info = copy.deepcopy(made.info)
    made.info["algorithm"]["class"] = f"forethought.algorithms.x.{algorithm}"
    made.info["algorithm"]["settings"]["planner"]["settings"]["horizon"] = horizon
    made.info["env"] |= {"spec": env, "name": env, **more}
    made.info["status"] = status
    return made


def flat(*values):
    """Returns whose score is the last value."""
    return [*values, *values[-1:] * 5]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two algorithms on two environments, four seeds each; scores are 10, 20, 30, 40 of one and 25 of the other."""
    folder = tmp_path_factory.mktemp("grid")
    return [
        run(folder, seed, flat(0.0, value * scale), algorithm=name, env=env)
        for env, scale in zip(ENVS, (1.0, -10.0), strict=True)
        for seed in range(4)
        for name, value in (("PETS", 10.0 * (seed + 1)), ("PILCO", 25.0 + 0.001 * seed))
    ]


def test_scores_are_interquartile_means_over_seeds(grid):
    found = compare(grid)
    assert found.algorithms == ("PETS", "PILCO") and found.environments == ENVS
    cell = found.cells["PETS", ENVS[0]]
    assert cell.score.value == pytest.approx(trim_mean([10, 20, 30, 40], 0.25))
    assert 10 <= cell.score.low < 25 < cell.score.high <= 40
    np.testing.assert_allclose(found.scores("PETS"), [[10, -100], [20, -200], [30, -300], [40, -400]])


def test_scores_over_environments_are_normalized_by_the_lowest_and_the_highest(grid):
    found = compare(grid)
    np.testing.assert_allclose(found.normalized("PETS"), [[0, 1], [1 / 3, 2 / 3], [2 / 3, 1 / 3], [1, 0]], atol=1e-12)
    assert found.aggregate["PETS"].value == pytest.approx(0.5)


def test_improvement_of_each_environment_and_of_all(grid):
    found = {(one.environment): one.probability for one in compare(grid).improvements}
    assert found[ENVS[0]].value == found[ENVS[1]].value == found[None].value == 0.5
    assert found[None].low < 0.5 < found[None].high


def test_a_curve_is_the_interquartile_mean_where_all_seeds_have_data(tmp_path):
    runs = [run(tmp_path, seed, [seed, seed + 1.0, seed + 2.0, seed + 3.0][: 4 - seed % 2]) for seed in range(4)]
    band = compare(runs).cells["PETS", ENVS[0]].band
    assert (band.env_steps[0], band.env_steps[-1]) == (100, 300)
    ratios = band.env_steps[1:] / band.env_steps[:-1]
    np.testing.assert_allclose(ratios, ratios[0])
    np.testing.assert_allclose(band.value, 1.5 + (band.env_steps - 100) / 100)
    assert (band.low <= band.value).all() and (band.low < band.high).all()


def test_a_round_counts_with_the_mean_over_its_episodes(tmp_path):
    made = run(tmp_path, 0, [1.0, 2.0])
    made.metrics[1]["return_mean"] = 5.0
    del made.metrics[0]["return_mean"]
    made.metrics.insert(1, {**made.metrics[0], "return": None, "env_steps": 150})
    record = compare([made]).records[0]
    assert record.returns.tolist() == [1.0, 5.0] and record.env_steps.tolist() == [100, 200]


@pytest.mark.parametrize(("given", "value", "steps"), [(2.5, 2.5, 300), (None, 1 + 0.9 * 2.0, 300), (1.5, 1.5, 200)])
def test_steps_to_a_return(tmp_path, given, value, steps):
    cell = compare([run(tmp_path, 0, flat(1.0, 2.0, 3.0))], threshold=given).cells["PETS", ENVS[0]]
    assert cell.threshold.value == pytest.approx(value) and cell.reached.steps == (steps,)


def test_a_seed_that_never_reaches_the_threshold_counts_as_later_than_all(tmp_path):
    runs = [run(tmp_path, seed, [0.0, 10.0 if seed == 0 else 1.0, 10.0 if seed < 2 else 1.0]) for seed in range(4)]
    reached = compare(runs[:3], threshold=9.0).cells["PETS", ENVS[0]].reached
    assert (reached.count, reached.runs, reached.median) == (2, 3, 300)
    assert reached.low == 200 and np.isinf(reached.high)
    assert np.isinf(compare(runs, threshold=9.0).cells["PETS", ENVS[0]].reached.median)
    assert "never" in summary(compare(runs, threshold=9.0))


def test_the_task_defines_the_threshold_where_it_can(tmp_path):
    made = fake_run(tmp_path)  # solved from the fifth round
    cell = compare([made]).cells["PETS", ENVS[0]]
    assert cell.threshold.value is None and cell.reached.steps == (200,)
    assert compare([run(tmp_path, env="HalfCheetah-v5")]).cells["PETS", "HalfCheetah-v5"].threshold.value == 4800
    replaced = compare([run(tmp_path, env="HalfCheetah-v5", cost="m:c")]).cells["PETS", "HalfCheetah-v5"].threshold
    assert "first rounds" in replaced.origin


def test_labels_are_the_settings_that_differ(tmp_path):
    runs = [run(tmp_path, seed, horizon=horizon) for seed in range(2) for horizon in (6, 12)]
    assert compare(runs).algorithms == ("PETS planner.horizon=6", "PETS planner.horizon=12")
    told = [run(tmp_path), run(tmp_path, algorithm="PETS", horizon=6, angles=[1])]
    assert compare(told).algorithms == ("PETS", "PETS angles=1")


def test_settings_may_differ_between_environments(tmp_path):
    found = compare([run(tmp_path, env=ENVS[0]), run(tmp_path, env=ENVS[1], horizon=12)])
    assert found.algorithms == ("PETS",) and any("differ between environments" in note for note in found.notes)


def test_runs_of_different_tasks_are_refused(tmp_path):
    with pytest.raises(UsageError, match="different tasks: the dt of .* is not given in one and 0.5 in the other"):
        compare([run(tmp_path), run(tmp_path, 1, algorithm="PILCO", dt=0.5)])


def test_an_algorithm_that_lacks_an_environment_is_refused(grid):
    with pytest.raises(UsageError, match=f"PILCO has no run on {ENVS[1]}.*add some, or leave out"):
        compare([one for one in grid if (one.info["env"]["name"], one.path.name[:5]) != (ENVS[1], "PILCO")])


def test_a_threshold_for_several_environments_is_refused(grid):
    with pytest.raises(UsageError, match="a threshold is a return of one environment"):
        compare(grid, threshold=1.0)


def test_runs_that_are_not_done_are_left_out_and_named(tmp_path):
    failed = run(tmp_path, 2, [9.0], status="failed")
    failed.info["reason"] = "the fit diverged."
    empty = run(tmp_path, 3, [])
    found = compare([run(tmp_path, 0), run(tmp_path, 1), failed, empty])
    assert [r.seed for r in found.cells["PETS", ENVS[0]].records] == [0, 1] and len(found.records) == 3
    notes = " ".join(found.notes)
    assert f"{failed.path} (failed after 100 steps: the fit diverged)" in notes and "favors" in notes
    assert f"no finished round: {empty.path}" in notes
    with pytest.raises(UsageError, match="no run has a finished round"):
        compare([empty])


def test_runs_count_as_far_as_they_came_where_none_is_done(tmp_path):
    found = compare([run(tmp_path, seed, [1.0] * (2 + seed), status="running") for seed in range(2)])
    assert len(found.cells["PETS", ENVS[0]].records) == 2
    assert any("compared as far as they came" in note for note in found.notes)
    assert any("different lengths, 200 to 300 steps" in note for note in found.notes)


def test_the_same_seed_counts_once(tmp_path):
    found = compare([run(tmp_path / "a", 0), run(tmp_path / "b", 0, status="interrupted"), run(tmp_path, 1)])
    assert [r.path.split("/")[-2] for r in found.cells["PETS", ENVS[0]].records][0] == "a"
    assert len(found.cells["PETS", ENVS[0]].records) == 2 and any("counts once" in note for note in found.notes)


def test_single_seeds_have_no_intervals_and_the_page_says_so(tmp_path):
    runs = [run(tmp_path), run(tmp_path, algorithm="PILCO", returns=(4.0, 5.0))]
    text = write_report(runs, out=tmp_path / "r.html").read_text(encoding="utf-8")
    assert "differences may be chance" in text and "nan" not in text


def test_seeds_that_not_all_environments_have_count_only_there(tmp_path):
    runs = [run(tmp_path, seed, env=env) for env in ENVS for seed in range(3 if env == ENVS[0] else 2)]
    found = compare(runs)
    assert found.seeds("PETS") == (0, 1) and found.scores("PETS").shape == (2, 2)
    assert len(found.cells["PETS", ENVS[0]].records) == 3 and any("common to them: 0, 1" in n for n in found.notes)
    apart = compare([run(tmp_path, 0, env=ENVS[0]), run(tmp_path, 1, env=ENVS[1])])
    assert not apart.aggregates and apart.aggregate == {}
    assert as_json(apart)["scores"] == {"PETS": []} and write_report(apart, out=tmp_path / "r.html")


def test_runs_that_do_not_overlap_have_no_curve(tmp_path):
    late = run(tmp_path, 1, [1.0, 2.0])
    for line in late.metrics:
        line["env_steps"] += 10_000
    found = compare([run(tmp_path, 0), late])
    assert len(found.cells["PETS", ENVS[0]].band.value) == 0 and write_report(found, out=tmp_path / "r.html")


def test_the_json_has_the_structure_that_rliable_reads(grid, tmp_path):
    write_json(tmp_path / "scores.json", as_json(compare(grid)))
    read = json.loads((tmp_path / "scores.json").read_text())
    scores = {name: np.array(values) for name, values in read["scores"].items()}
    assert {name: values.shape for name, values in scores.items()} == {"PETS": (4, 2), "PILCO": (4, 2)}
    assert np.array(read["curves"]["PETS"]).shape == (4, 2, len(read["curve_env_steps"]))
    assert read["iqm"]["PETS"][ENVS[0]]["value"] == pytest.approx(25)
    assert read["steps_to_threshold"]["PETS"][ENVS[0]] == [None, None, 200, 200]


def test_the_page_is_complete_and_self_contained(grid, tmp_path):
    text = write_report(grid, out=tmp_path / "report.html").read_text(encoding="utf-8")
    assert outside(text) == []
    for words in (
        f"16 runs on {', '.join(ENVS)}",
        "PETS (4 seeds)",
        "normalized score",
        "Probability of improvement",
        "PETS &gt; PILCO",
        "25 [",
        "90% of the way",
        *(str(one.path) for one in grid),
    ):
        assert words in text, words


def test_the_command_prints_a_summary_and_writes_both_files(grid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(html, "open_runs", lambda named: grid[:8])
    assert main(["report", str(tmp_path), "--threshold", "22", "--json", str(tmp_path / "s.json")]) == 0
    out = capsys.readouterr().out
    assert "PETS > PILCO" in out and "return 22 (given)" in out and "4 of 4" in out
    assert (tmp_path / "s.json").exists() and (tmp_path / "report.html").exists()


def test_threshold_and_json_are_for_several_runs(grid, monkeypatch, capsys):
    monkeypatch.setattr(html, "open_runs", lambda named: grid[:1])
    assert main(["report", "runs/a", "--threshold", "22"]) == 2
    assert "for several runs" in capsys.readouterr().err


def test_a_folder_stands_for_the_runs_in_it(tmp_path, monkeypatch):
    for name in ("b", "a", "logs"):
        (tmp_path / name).mkdir()
    for name in ("b", "a"):
        (tmp_path / name / "run.json").touch()
    monkeypatch.setattr("forethought.runs.run.load", lambda path: path)
    assert html.open_runs([tmp_path]) == [tmp_path / "a", tmp_path / "b"]
    assert html.open_runs([tmp_path / "a", tmp_path / "logs"]) == [tmp_path / "a", tmp_path / "logs"]
