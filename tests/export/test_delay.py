"""The exported controller of a delayed system keeps the past actions itself."""

import numpy as np
import pytest
from controllers import make, run_of

from forethought.envs.env import collect
from forethought.export.exporting import export_run
from forethought.export.standalone import load

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("kind", ["squashed", "mpc"])
def test_it_acts_as_in_the_environment(kind, tmp_path):
    import jax.random as jr

    run = run_of(kind, tmp_path / "run", action_delay=1, observation_delay=1)
    export = export_run(run, tmp_path / "out", latency_steps=0, compared=4)
    assert export.manifest["delay"]["past_actions"] == 2 and export.manifest["observation"]["shape"] == [4]
    for form in export.forms:
        loaded = load(export.path, form)
        if kind == "mpc":
            assert export.manifest["forms"][form]["memory"][0]["name"] == "past actions, newest first"
            continue
        rows = collect(run.env, make(kind, run.env), steps=8, key=jr.key(3))
        found = np.asarray([loaded.act(x[:4]) for x in rows.x])
        np.testing.assert_allclose(found, rows.u, atol=1e-5)
        run.reset()
        np.testing.assert_allclose(np.asarray([run.act(x[:4]) for x in rows.x]), rows.u, atol=1e-5)
        loaded.reset()
        loaded.act(np.full(4, np.nan))  # the fallback action joins the past actions
        first = loaded.act(rows.x[0, :4])
        np.testing.assert_allclose(first, found[0], atol=1e-5)


RATE = 2.0


@pytest.mark.parametrize("delay", [0, 1])
def test_it_sends_actions_that_change_no_faster_than_allowed(delay, tmp_path):
    import jax.random as jr

    run = run_of("squashed", tmp_path / "run", action_delay=delay, action_rate=RATE)
    export = export_run(run, tmp_path / "out", latency_steps=0, compared=4)
    change = export.manifest["delay"]["largest_change"]
    assert export.manifest["delay"]["steps"] == delay and change == pytest.approx([RATE * run.env.task.dt] * 2)
    rows = collect(run.env, make("squashed", run.env), steps=12, key=jr.key(3))
    sent = rows.x_next[:, 4:6]  # the newest past action
    for form in export.forms:
        loaded = load(export.path, form)
        found = np.asarray([loaded.act(x[:4]) for x in rows.x])
        np.testing.assert_allclose(found, sent, atol=1e-5)
        assert np.abs(np.diff(found, axis=0)).max() <= change[0] + 1e-5
        assert np.abs(found - rows.u).max() > 0.05  # the limit acted
    run.reset()
    np.testing.assert_allclose(np.asarray([run.act(x[:4]) for x in rows.x]), sent, atol=1e-5)
