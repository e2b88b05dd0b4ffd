"""The pages tell the truth: their code runs, their links lead somewhere, their commands exist."""

import re
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import pytest

from forethought.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def test_the_templates_of_contributing_work_together():
    names = {"__name__": "contributing"}
    for block in blocks("CONTRIBUTING.md", "python"):
        exec(block, names)
    env, algorithm = names["env"], names["FitAndPlan"]()
    state = algorithm.init(env, key=jr.key(0))
    returns = []
    for i in range(4):
        state, info = algorithm.iterate(state, env, key=jr.fold_in(jr.key(1), i))
        returns.append(float(info.episodes[0].reward.sum()))
    # The model is exact for this system: x' = x + dt [x_1, u], and so are its weights.
    exact = jnp.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1]])
    assert jnp.allclose(state.learned.dynamics.model.W, exact, atol=1e-3)
    x, key = jnp.array([1.0, 0.0]), jr.key(2)
    controller = algorithm.controller(state, env)
    u, _ = controller.act(x, jnp.asarray(0), controller.init(x, key=key), key=key)
    assert u[0] < 0  # back to the origin


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_exist(page):
    text = page.read_text()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", text, flags=re.MULTILINE)) <= targets
    assert set(re.findall(r"(?:^|`)forethought ([a-z]+)\b", text, flags=re.MULTILINE)) <= set(COMMANDS)
