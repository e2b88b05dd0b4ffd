"""The public names: each exists, once, and is loaded only when it is used."""

import importlib
import re
from pathlib import Path

import pytest

import forethought
from forethought.core.lazy import lazy_exports

ROOT = Path(__file__).parents[1]
ROOMS = sorted(path.parent.name for path in Path(forethought.__file__).parent.glob("*/__init__.py"))
PUBLIC = (
    "algorithms core dynamics envs games learners models models.gp networks planning policies tasks".split()
)  # rooms with names for others
PACKAGES = [forethought, *(importlib.import_module(f"forethought.{room}") for room in PUBLIC)]


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_what_is_in_it(room):
    sentence = importlib.import_module(f"forethought.{room}").__doc__
    assert len(sentence.split()) > 3 and sentence.endswith(".")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_every_public_name_exists(package):
    for name in set(package.__all__) - {"__version__"}:
        assert getattr(package, name).__module__.startswith("forethought.")
        assert name in dir(package)


PAGES = [path for folder in (".", "docs", "examples", "benchmarks") for path in sorted((ROOT / folder).glob("*.*"))]


def test_every_name_that_the_pages_use_exists():
    pages = [path for path in PAGES if path.suffix in (".md", ".py")]
    used = {name for page in pages for name in re.findall(r"\bft\.(\w+)", page.read_text(encoding="utf-8"))}
    assert {"train", "known_system"} <= used <= {*forethought.__all__}, used - {*forethought.__all__}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        package.nothing_of_the_kind  # noqa: B018


def test_a_misspelled_name_is_told_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'PETS'"):
        forethought.PETSS  # noqa: B018


def test_only_guarded_imports_are_exports(tmp_path):
    file = tmp_path / "__init__.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nfrom os import sep\nif TYPE_CHECKING:\n    from math import pi\n"
    )
    getattr_, _ = lazy_exports("forethought", str(file))
    assert getattr_("pi") == importlib.import_module("math").pi
    with pytest.raises(AttributeError):
        getattr_("sep")
    vars(forethought).pop("pi")
