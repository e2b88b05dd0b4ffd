"""What a release contains: data files of the wheel, one version everywhere, the pages of the documentation site."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from forethought._version import __version__
from forethought.cli.settings_reader import Settings, read_settings
from forethought.registry import ALGORITHMS, BASE_POLICIES, LEARNERS, MODELS, PLANNERS, PRIORS, SEARCHES, STUDENTS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "forethought"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_data_file_is_in_the_wheel():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["forethought"]
    packed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    there = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert there == packed


def test_every_folder_of_modules_is_a_package():
    assert all((path.parent / "__init__.py").exists() for path in PACKAGE.rglob("*.py"))


def test_the_version_is_that_of_the_changelog():
    """A development version belongs to the heading `Unreleased (0.2)`, a release to `0.2.0`."""
    newest = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1]
    release, development, _ = __version__.partition(".dev")
    if development:
        assert newest == f"Unreleased ({release.rpartition('.')[0]})"
    else:
        assert newest.split()[0] == release


def test_the_citation_has_what_is_required():
    citation = dict(re.findall(r"^([\w-]+):(.*)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"].strip() == PROJECT["project"]["license"]


@pytest.fixture(scope="module")
def hooks():
    """The functions of docs/site/hooks.py."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "site" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    return set(re.findall(r"[\w/]+\.md", text[text.index("\nnav:") :]))


def test_the_navigation_lists_every_page(hooks):
    written = {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}
    assert navigation() == written | set(hooks.reference()) | set(hooks.PROJECT.values())


def test_links_are_changed_to_paths_of_the_site(hooks):
    change = hooks._changed
    assert change("../forethought/learners/sac.py", "learners.md", "") == "source/forethought/learners/sac.py.md"
    assert change("../../README.md", "tutorials/known_model.md", "tutorials") == "../project/readme.md"
    assert change("../README.md", "environments.md", "") == "project/readme.md"
    assert change("docs/pilco.md", "project/readme.md", "project") == "../pilco.md"
    assert change("https://x.org/a.md", "pilco.md", "") == "https://x.org/a.md"


def test_the_reference_documents_every_public_name_once(hooks):
    found = entries(hooks)
    assert len(found) == len(set(found))
    assert {"forethought.algorithms.pets.PETS", "forethought.core.gaussian.Gaussian"} <= set(found)


def entries(hooks):
    return re.findall(r"^::: (.*)$", "\n".join(hooks.reference().values()), flags=re.MULTILINE)


def test_the_reference_documents_every_name_that_a_page_imports(hooks):
    documented = {entry.rpartition(".")[2] for entry in entries(hooks)}
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    blocks = [
        block for page in pages for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    ]
    lines = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
    used = {name.name for line in lines if line.module.startswith("forethought") for name in line.names}
    assert used and used <= documented, used - documented


def test_the_reference_documents_every_class_of_settings(hooks):
    """Those of each name in the registry, and of their areas, such as `--search` of pilco."""
    tables = ALGORITHMS, BASE_POLICIES, LEARNERS, MODELS, PLANNERS, PRIORS, SEARCHES, STUDENTS
    homes = {home for table in tables for home in table.values()}
    homes |= {inner for home in homes - {STUDENTS["games"]} for inner in areas(read_settings(home))}
    missing = {home.replace(":", ".") for home in homes} - set(entries(hooks))
    assert not missing


def areas(settings):
    """The classes of settings inside `settings`."""
    for one in settings.fields:
        if isinstance(one.default, Settings):
            yield one.default.home
            yield from areas(one.default)


def test_the_first_page_uses_the_example():
    """The environment of the first page is examples/my_env.py, without its introduction."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), flags=re.DOTALL)[1]
    assert (ROOT / "examples" / "my_env.py").read_text().endswith(block)
