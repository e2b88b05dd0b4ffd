"""What is read from the source must be what Python makes of it."""

import dataclasses
import typing

import pytest

from forethought.cli import environment_flags
from forethought.cli import settings_reader as reader
from forethought.cli.flags import choices
from forethought.cli.settings_reader import Settings, read_settings
from forethought.core import UsageError
from forethought.envs.environment import OPTIONS
from forethought.registry import ALGORITHMS, CHOICES, MODELS, PLANNERS, SEARCHES

PLAYOUTS = "forethought.games.playouts:Playouts"  # whose settings are flags of `forethought play`
HOMES = sorted({*ALGORITHMS.values(), *MODELS.values(), *PLANNERS.values(), *SEARCHES.values(), PLAYOUTS})


def real_class(home):
    module, _, name = home.partition(":")
    return getattr(__import__(module, fromlist=[name]), name)


def assert_agree(read, real):
    """`read` from the source describes `real`, a settings object made by Python."""
    assert real_class(read.home) is type(real)
    assert [field.name for field in read.fields] == [field.name for field in dataclasses.fields(real)]
    types = typing.get_type_hints(type(real))
    for field in read.fields:
        value = getattr(real, field.name)
        if isinstance(field.default, Settings):
            assert_agree(field.default, value)
        else:
            assert field.type == types[field.name]
            assert (type(field.default), field.default) == (type(value), value)
            assert field.help, f"{read.home}.{field.name} needs a comment that says what it means"


@pytest.mark.parametrize("home", HOMES)
def test_the_source_says_what_python_makes_of_it(home):
    assert_agree(read_settings(home), real_class(home)())


@pytest.mark.parametrize("home", HOMES)
def test_construct_without_changes_gives_the_defaults(home):
    assert read_settings(home).construct({}) == real_class(home)()


def test_every_option_of_an_environment_has_a_help_text():
    fields = read_settings(environment_flags.HOME, skip=environment_flags.NOT_FLAGS).fields
    assert {field.name for field in fields} == set(OPTIONS) - {"make_kwargs"}
    assert all(field.help for field in fields)


def test_choices_follow_from_the_annotation():
    """`PETS.model: Regression` takes every model, `PILCO.model: GP` that one, an area of one class none."""

    def offered(algorithm):
        areas = [f for f in read_settings(ALGORITHMS[algorithm]).fields if isinstance(f.default, Settings)]
        return {field.name: choices(field) for field in areas if choices(field)}

    assert offered("pets") == {"model": MODELS, "planner": PLANNERS}
    assert offered("pilco") == {"model": {"gp": MODELS["gp"]}}


@pytest.mark.parametrize("protocol", CHOICES)
def test_everything_registered_is_of_its_protocol(protocol):
    for home in CHOICES[protocol].values():
        assert isinstance(real_class(home)(), real_class(protocol)), home


def test_construct_changes_what_is_given_and_nothing_else():
    pets = real_class(ALGORITHMS["pets"])
    made = read_settings(ALGORITHMS["pets"]).construct({"planner.horizon": 7, "random_episodes": 3})
    assert made == pets(planner=dataclasses.replace(pets().planner, horizon=7), random_episodes=3)


def test_a_refused_value_is_wrong_usage():
    with pytest.raises(UsageError, match="horizon"):
        read_settings(PLANNERS["cem"]).construct({"horizon": 0})


OTHER = '''
from typing import Literal
Color = Literal["red", "blue"]

class Inner:
    """Inside."""
    width: int = 3  # m
    color: Color = (
        "red"  # as a formatter breaks a long line
    )
'''

OUTER = '''"""Outer things.

More of them.
"""
from forethought.other import Inner as Within

class Outer:
    rate: float | None = None  # per s; '#' counts
    sizes: tuple[int, ...] = (1, 2)  # units
    within: object = Within(width=5)
    CONSTANT = 3

    def method(self):
        local: int = 3
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two files in place of the real one."""
    (tmp_path / "forethought").mkdir()
    monkeypatch.setattr(reader, "ROOT", tmp_path)
    caches = (reader.read_settings, reader._parse)

    def write(**files):
        for name, text in files.items():
            (tmp_path / "forethought" / f"{name}.py").write_text(text)

    for cache in caches:
        cache.cache_clear()
    yield write
    for cache in caches:
        cache.cache_clear()


def test_reads_types_comments_aliases_and_changed_defaults(package):
    package(other=OTHER, outer=OUTER)
    read = read_settings("forethought.outer:Outer")
    assert read.about == "Outer things."
    rate, sizes, within = read.fields
    assert (rate.type, rate.default, rate.help) == (float | None, None, "per s; '#' counts")
    assert (sizes.type, sizes.default, sizes.help) == (tuple[int, ...], (1, 2), "units")
    assert within.default.home == "forethought.other:Inner" and within.type == ()
    width, color = within.default.fields
    assert (width.default, width.help) == (5, "m")
    assert (color.type, color.default) == (typing.Literal["red", "blue"], "red")
    assert color.help == "as a formatter breaks a long line"


def test_a_file_of_several_settings_is_described_class_by_class(package):
    area = '@dataclass\nclass {0}:\n    """{0} of it."""\n    x: int = 3  # m\n'
    package(areas='"""Areas."""\n' + area.format("First") + area.format("Second"))
    assert read_settings("forethought.areas:Second").about == "Second of it."


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x: int", "no default"),
        ("x: int = 2 * 3", "literal"),
        ("x: int = unknown", "literal"),
        ("x: Unknown = 3", "Unknown"),
        ("x: object = Unknown()", "Unknown"),
    ],
)
def test_says_which_field_it_cannot_read(package, line, message):
    package(outer=f"class Outer:\n    {line}\n")
    with pytest.raises(ValueError, match=rf"Outer\.x.*{message}"):
        read_settings("forethought.outer:Outer")
