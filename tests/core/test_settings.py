"""Settings: wrong values are named, equal values are equal, and the documentation says what each means."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pytest

from forethought.core.settings import field_comments, settings

ROOT = Path(__file__).parents[2]


@runtime_checkable
class Weighing(Protocol):
    def weigh(self): ...


@settings
class Scale:
    """A scale."""

    most: float = 2.0  # largest mass, kg

    def weigh(self):
        return self.most


@settings
class Box:
    """Settings of a box.

    Source: a paper.
    """

    size: int = 3  # edge length, mm
    mass: float | None = None  # mass, kg; '#' counts
    sizes: tuple[int, ...] = (1, 2)  # lengths, mm
    pair: tuple[int, float] = (1, 2.0)
    color: Literal["red", "blue"] = "red"  # color of the
    closed: bool = False  # whether it is closed
    label: str = "a"  # name
    scale: Weighing = Scale(most=5.0)  # what weighs it

    def __post_init__(self):
        """It has a size."""
        if self.size < 1:
            raise ValueError(f"Box.size must be at least 1, got {self.size}.")

    def volume(self):
        size = 1  # not a setting
        return self.size**3 * size


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": "ten"}, "Box.size must be a whole number, not 'ten'"),
        ({"size": 2.5}, "Box.size must be a whole number, not 2.5"),
        ({"size": True}, "Box.size must be a whole number, not True"),
        ({"size": 0}, "at least 1, got 0"),
        ({"mass": "much"}, "Box.mass must be a number or None, not 'much'"),
        ({"sizes": 3}, "Box.sizes must be a tuple, not 3"),
        ({"sizes": ("a",)}, r"Box.sizes\[0\] must be a whole number"),
        ({"pair": (1,)}, "Box.pair must have 2 values, not 1"),
        ({"color": "green"}, "Box.color must be one of 'red', 'blue', not 'green'"),
        ({"closed": 1}, "Box.closed must be True or False"),
        ({"label": 1}, "Box.label must be a text"),
        ({"scale": Scale}, r"Box.scale must be settings of kind Weighing, not the class itself: write Scale\(\)"),
        ({"scale": 3}, "Box.scale must be settings of kind Weighing, not 3"),
    ],
)
def test_wrong_values_are_named(values, said):
    with pytest.raises(ValueError, match=said):
        Box(**values)


def test_equal_settings_are_equal_and_hashable():
    given = Box(size=np.int64(3), mass=np.float32(2), sizes=[1, np.int32(2)], pair=[1, 2], closed=False)
    assert given == Box(mass=2.0) and hash(given) == hash(Box(mass=2.0))
    assert [type(v) for v in (given.size, given.mass, given.sizes[1], given.pair[1])] == [int, float, int, float]
    with pytest.raises(dataclasses.FrozenInstanceError):
        given.size = 4
    assert dataclasses.replace(given, size=5).volume() == 125


def test_the_documentation_lists_meaning_and_unit():
    assert Box.__doc__.splitlines() == [
        "Settings of a box.",
        "",
        "Source: a paper.",
        "",
        "Settings:",
        "    size = 3  # edge length, mm",
        "    mass = None  # mass, kg; '#' counts",
        "    sizes = (1, 2)  # lengths, mm",
        "    pair = (1, 2.0)",
        "    color = 'red'  # color of the",
        "    closed = False  # whether it is closed",
        "    label = 'a'  # name",
        "    scale = Scale(...)  # what weighs it",
    ]
    assert Box().__doc__ == Box.__doc__


def test_without_source_the_names_are_left():
    made = settings(type("Made", (), {"__annotations__": {"size": int}, "size": 1, "__doc__": "Made here."}))
    assert made.__doc__ == "Made here.\n\nSettings:\n    size = 1" and field_comments(made) == {}


def test_help_shows_every_setting_of_what_is_registered():
    """In a process of its own: the tests' own type checker would answer first."""
    code = """
import dataclasses, pydoc
import forethought as ft
from forethought.core.settings import field_comments
from forethought.registry import ALGORITHMS, MODELS, PLANNERS
for home in [*ALGORITHMS.values(), *MODELS.values(), *PLANNERS.values()]:
    module, _, name = home.partition(":")
    cls = getattr(__import__(module, fromlist=[name]), name)
    comments, text = field_comments(cls), pydoc.render_doc(cls, renderer=pydoc.plaintext)
    for field in dataclasses.fields(cls):
        assert f'    {field.name} = ' in text and comments.get(field.name, '') in text, (home, field.name)
for call, said in (
    (lambda: ft.PETS(planner=ft.CEM), "PETS.planner must be settings of kind Planner, not the class itself: write CEM"),
    (lambda: ft.CEM(horizon="ten"), "CEM.horizon must be a whole number, not 'ten'"),
):
    try:
        call()
    except ValueError as error:
        assert said in str(error), error
    else:
        raise AssertionError(said)
assert ft.Ensemble(hidden=[32, 32]) == ft.Ensemble(hidden=(32, 32))
hash(ft.Ensemble(hidden=[32, 32]))
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "fine\n", done.stderr
