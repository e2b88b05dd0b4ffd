"""What a release contains: data files of the wheel, one version everywhere, the pages of the documentation site."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from forethought._version import __version__

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
    entries = re.findall(r"^::: (.*)$", "\n".join(hooks.reference().values()), flags=re.MULTILINE)
    assert len(entries) == len(set(entries))
    assert {"forethought.algorithms.pets.PETS", "forethought.core.gaussian.Gaussian"} <= set(entries)


def test_the_first_page_uses_the_example():
    """The environment of the first page is examples/my_env.py, without its introduction."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), flags=re.DOTALL)[1]
    assert (ROOT / "examples" / "my_env.py").read_text().endswith(block)
