"""README, CONTRIBUTING and docs/: their Python runs, their commands parse or run, their links and flags exist.

A page's Python blocks run one after the other, as one program.  Commands are parsed by the program itself, settings
included; the cheap ones, and those of the README, are also run.  `SMALL` lists everything that is replaced.
"""

import argparse
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import gymnasium
import jax.numpy as jnp
import jax.random as jr
import pytest

from forethought.cli import main as cli
from forethought.cli.flags import given_settings
from forethought.cli.renamed import RENAMED
from forethought.envs.arcade.atari import STICKY
from forethought.envs.arcade.minatar_games import IDS, is_minatar
from forethought.envs.grids.mazes import MAZES
from forethought.envs.shipped import NAMESPACE, SHIPPED
from forethought.registry import ALGORITHMS, MODELS, PLANNERS, STUDENTS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
LINKING = [*PAGES, ROOT / "CHANGELOG.md"]

# Budgets that are made small when a page runs; the first text must be on the page.
SMALL = {
    "README.md": {"iterations=15": "iterations=1", "episodes=5": "episodes=1", "--iterations 7": "--iterations 1"},
    "dyna.md": {"iterations=10": "iterations=1"},
    "pilco.md": {"iterations=7": "iterations=1", "episodes=5": "episodes=1"},
    "learners.md": {"env_steps=300_000": "iterations=1", "episodes=5": "episodes=1"},
    "deploy.md": {"iterations=6": "iterations=1", "--iterations 6": "--iterations 1"},
    "games.md": {"games=100": "games=2", "simulations=200": "simulations=4"},
}
SLOW = {
    "README.md",
    "deploy.md",
    "distill_and_export.md",
    "dyna.md",
    "fit_and_plan.md",
    "games.md",
    "howto.md",
    "imagined_and_real.md",
    "known_model.md",
    "learners.md",
    "local_models.md",
    "pilco.md",
    "policy_through_model.md",
    "replanning.md",
    "trust_regions.md",
}
RUN = [
    "forethought list",
    "forethought train pets --help",
    "forethought train ppo --help",
]  # beginnings of the cheap commands, which are run


def python_blocks(page):
    return [code for code, _ in programs(page)]


def programs(page):
    """The Python blocks, each with the block of text after it, which is what it prints; "" where there is none."""
    return re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", page.read_text(), flags=re.DOTALL)


def small(page, text):
    for whole, reduced in SMALL.get(page.name, {}).items():
        text = text.replace(whole, reduced)
    return text


def commands(page, program):
    """Commands in blocks without a language, and complete ones in backticks within a sentence."""
    text = page.read_text()
    lines = [
        line.partition(" #")[0].strip()
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
        if not language
        for line in block.replace("\\\n", " ").splitlines()
    ]
    sentences = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    inline = [" ".join(one.split()) for one in re.findall(r"`([^`]+)`", sentences)]
    placeholders = re.compile(r"\b[A-Z]{2,}\b|\.\.\.|\|")
    found = [*lines, *(one for one in inline if len(one.split()) > 2 and not placeholders.search(one))]
    return [one for one in dict.fromkeys(found) if one.startswith(program + " ")]


def all_commands(program):
    return [pytest.param(one, id=f"{page.name}: {one}") for page in PAGES for one in commands(page, program)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the files that the pages name."""
    shutil.copy(ROOT / "examples" / "my_env.py", tmp_path)
    arm = (ROOT / "benchmarks" / "arm.xml").read_text()
    (tmp_path / "arm.xml").write_text(arm.replace("<motor ", '<motor ctrlrange="-1 1" '))
    (tmp_path / "docs" / "img").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    yield tmp_path
    for name in ("my_env", "controller"):
        sys.modules.pop(name, None)
    gymnasium.registry.pop("TargetTracker-v0", None)


def test_every_replaced_text_is_on_its_page():
    for page in PAGES:
        for whole in SMALL.get(page.name, {}):
            assert whole in page.read_text(), f"{page.name}: {whole}"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=pytest.mark.slow if page.name in SLOW else ())
        for page in PAGES
        if python_blocks(page) and page.name != "CONTRIBUTING.md"  # has a test of its own
    ],
)
def test_python_blocks_run(page, folder, capsys):
    if page.name == "games.md":
        pytest.importorskip("pgx")
    names = {"__name__": page.stem}
    for block, stated in programs(page):
        capsys.readouterr()
        exec(compile(small(page, block), page.name, "exec"), names)
        if stated:
            assert agree(capsys.readouterr().out, stated), stated


def agree(printed, stated):
    """Whether two outputs have the same words, and numbers that differ by less than a quarter: processors round
    differently, and learning amplifies it.
    """
    number = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
    pairs = zip(number.findall(printed), number.findall(stated), strict=False)
    close = all(abs(float(a) - float(b)) <= 0.25 * abs(float(b)) + 1e-6 for a, b in pairs)
    return close and number.sub("#", printed) == number.sub("#", stated)


def test_outputs_that_differ_are_found():
    assert agree("cost 101, solved: True", "cost 100, solved: True")
    assert not agree("cost 130, solved: True", "cost 100, solved: True")
    assert not agree("cost 100, solved: False", "cost 100, solved: True")
    assert not agree("cost 100", "cost 100, 200")


def test_the_templates_of_contributing_work_together():
    names = {"__name__": "contributing"}
    for block in python_blocks(ROOT / "CONTRIBUTING.md"):
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


@pytest.mark.parametrize("command", all_commands("forethought"))
def test_commands_are_accepted(command, folder, monkeypatch, capsys):
    """By the parser, with their settings; the environment they name exists."""
    words = shlex.split(command)[1:]
    if any(command.startswith(one) for one in RUN):
        assert _status(words) == 0, capsys.readouterr().err
        return
    seen = []
    monkeypatch.setattr(cli.COMMANDS[words[0]], "run", lambda values: seen.append(values) or 0)
    assert cli.main(words) == 0, capsys.readouterr().err
    (values,) = seen
    settings = getattr(values, "settings", None) or ()
    for area in settings if isinstance(settings, tuple) else (settings,):
        area.construct(given_settings(area, values))
    if isinstance(getattr(values, "env", None), str):
        assert _exists(values.env), values.env


def _status(words):
    try:
        return cli.main(words)
    except SystemExit as leaving:  # --help
        return leaving.code


def _exists(env):
    if env.startswith(NAMESPACE):
        return env.removeprefix(NAMESPACE) in SHIPPED | MAZES
    if is_minatar(env):
        return env in IDS
    if env.startswith("ALE/"):
        return env.rpartition("-")[2] in STICKY
    if env.endswith(".xml"):
        return Path(env).exists()
    module, _, name = env.rpartition(":")
    return (
        (Path(f"{module}.py").exists() and name in Path(f"{module}.py").read_text())
        if module
        else (gymnasium.spec(name) is not None)
    )


@pytest.mark.slow
def test_the_commands_of_readme_run(folder, capsys):
    """Those on the run `runs/pilco`, one after the other, after one round of training."""
    pytest.importorskip("onnx")
    page = ROOT / "README.md"
    chosen = [one for one in commands(page, "forethought") if "runs/pilco" in one]
    assert [one.split()[1] for one in chosen] == ["train", "evaluate", "report", "video", "export"]
    for command in chosen:
        assert cli.main(shlex.split(small(page, command))[1:]) == 0, capsys.readouterr().err
    assert {"run.json", "metrics.jsonl", "report.html", "run.mp4"} <= {one.name for one in Path("runs/pilco").iterdir()}


class Parsed(Exception):
    """The arguments of a script were accepted."""


@pytest.mark.parametrize("command", all_commands("python"))
def test_scripts_accept_their_flags(command, monkeypatch, capsys):
    script, *words = shlex.split(command)[1:]
    if script == "-m":
        return
    _parse(ROOT / script, words, monkeypatch)


def _parse(script, words, monkeypatch):
    """Run a script up to where its arguments are parsed; the parser."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        parse(self, args, namespace)
        raise Parsed(self)

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", stop)
        patched.setattr(sys, "argv", [script.name, *words])
        patched.setattr(sys, "path", [str(script.parent), *sys.path])
        with pytest.raises(Parsed) as accepted:
            runpy.run_path(str(script), run_name="__main__")
    return accepted.value.args[0]


def test_flags_in_sentences_exist(monkeypatch):
    known = _all_flags()
    scripts = {one.split()[1] for page in PAGES for one in commands(page, "python") if one.split()[1] != "-m"}
    for script in sorted(scripts):
        known |= _flags(_parse(ROOT / script, _needed(script), monkeypatch))
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for flag in re.findall(r"`(--[a-z][\w.-]*)", text):
            assert flag in known, f"{page.name}: {flag}"


def _needed(script):
    """Arguments without which a script's parser refuses."""
    needed = {"learning": "cartpole", "pilco": "cartpole", "minatar": "show", "atari": "show"}
    return [needed[name]] if (name := Path(script).stem) in needed else []


def _all_flags():
    """Of every command, with every choice of algorithm, planner and model."""
    words = [["plan", "ENV", "--planner", *PLANNERS], ["plan", "ENV"], *([name] for name in cli.COMMANDS)]
    words += [["distill", "--to", kind] for kind in STUDENTS]
    for algorithm in ALGORITHMS:
        words += [["train", algorithm], *(["train", algorithm, "--planner", name] for name in PLANNERS)]
        words += [["train", algorithm, "--model", name] for name in MODELS]
    known = set()
    for name, *rest in words:
        parser = cli.Parser(name, "")
        try:
            cli.COMMANDS[name].configure(parser, rest)
        except cli.UsageError:  # an area that the algorithm does not have
            continue
        known |= _flags(parser)
    return known


def _flags(parser):
    return set(parser._option_string_actions)


def test_the_changelog_lists_every_renamed_flag():
    table = (ROOT / "CHANGELOG.md").read_text().partition("## 0.1.0")[0]
    for old, new in RENAMED.items():
        if old != "--recentred":  # its spelling before 0.1
            assert f"`{old}`" in table and f"`{new}`" in table, old


@pytest.mark.parametrize("page", LINKING, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_named_files_exist(page):
    """Files of the repository in backticks: `benchmarks/results/x.json`, `tests/x.py`, `planning/x.py`."""
    for name in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|json|xml|html))`", page.read_text()):
        if name.startswith("runs/"):
            continue
        assert (ROOT / name).exists() or (ROOT / "forethought" / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), flags=re.MULTILINE)) <= targets


def test_the_page_of_results_has_the_command_of_each_result():
    page = (ROOT / "docs" / "results.md").read_text()
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    for result in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        stem = max((one for one in scripts if f"{result.stem}_".startswith(f"{one}_")), key=len)
        assert f"`python benchmarks/{stem}.py" in page, result.name


def test_every_message_of_the_troubleshooting_page_exists():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    table = re.search(r"^\| message contains.*?(?=\n\n)", text, flags=re.DOTALL | re.MULTILINE)[0]
    messages = re.findall(r"^\| `([^`]+)`", table, flags=re.MULTILINE)
    source = "\n".join(path.read_text() for path in (ROOT / "forethought").rglob("*.py"))
    joined = re.sub(r"\"\n\s*f?\"", "", source)  # parts of one string
    assert len(messages) > 10 and [one for one in messages if one not in joined] == []


def test_every_algorithm_is_in_the_table_of_methods():
    page = (ROOT / "docs" / "choose.md").read_text()
    assert [name for name in ALGORITHMS if f"`{name}`" not in page] == []


def test_every_difference_from_a_source_is_listed():
    listed = (ROOT / "docs" / "fidelity.md").read_text()
    for file in sorted((ROOT / "forethought").rglob("*.py")):
        if re.search(r"^\s*(Source:.*)?Differs:", file.read_text(), flags=re.MULTILINE):
            assert f"`{file.relative_to(ROOT / 'forethought')}`" in listed, file
