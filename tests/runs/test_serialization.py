from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import LeastSquares

from forethought.algorithms.pets import PETS
from forethought.core import CheckpointError, UsageError
from forethought.models.ensemble import Ensemble
from forethought.planning.icem import ICEM
from forethought.runs.serialization import fingerprint, first_difference, from_plain, to_plain


def test_settings_come_back_equal():
    pets = PETS(model=Ensemble(members=3, hidden=(8, 4)), planner=ICEM(particles=3), random_episodes=2)
    assert from_plain(to_plain(pets)) == pets


def scale(x):
    return 2 * x


@dataclass(frozen=True)
class Odd:
    value: object = 0


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=8))
def test_plain_values_are_json_with_a_digest_of_their_own(value):
    plain = to_plain(Odd(value))
    assert fingerprint(plain) == fingerprint(to_plain(Odd(value)))
    assert first_difference(plain, plain) is None


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), (1, (2.5, None)), "x", True])
def test_values_come_back(value):
    assert from_plain(to_plain(value)) == value


def test_what_cannot_be_recorded_is_a_usage_error():
    for value in ({"a": 1}, object(), lambda x: x):
        with pytest.raises(UsageError, match="settings.value is a"):
            to_plain(Odd(value))
    assert to_plain(Odd(scale))["settings"]["value"] == {"function": f"{__name__}:scale"}


@pytest.mark.parametrize(
    "plain",
    [
        {"class": "os.system", "settings": {}},
        {"class": "subprocess.Popen", "settings": {"args": ["true"]}},
        {"class": "forethought.runs.run.Run", "settings": {"path": "."}},
        {"class": "forethought.runs.session.jax.Array", "settings": {}},
        {"class": "forethought.nowhere.PETS", "settings": {}},
        {"class": "forethought.runs.serialization.importlib", "settings": {}},
        {"class": "forethought/../evil.PETS", "settings": {}},
        {"class": "PETS", "settings": {}},
        {"function": "os:abort"},
    ],
)
def test_nothing_outside_our_own_settings_is_called(plain):
    with pytest.raises(CheckpointError, match="pass the algorithm"):
        from_plain(plain)


def test_settings_of_users_and_unknown_fields_are_refused_clearly():
    with pytest.raises(CheckpointError, match="toy.LeastSquares, which is not part of Forethought"):
        from_plain(to_plain(LeastSquares()))
    plain = to_plain(PETS())
    plain["settings"]["future"] = 1
    with pytest.raises(CheckpointError, match=r"\['future'\], unknown to this version"):
        from_plain(plain)


def test_the_first_difference_is_named():
    old, new = to_plain(PETS()), to_plain(PETS(model=Ensemble(members=1)))
    assert first_difference(old, new, "algorithm") == "algorithm.model.members is 5 there and 1 here"
    changed = first_difference(old, to_plain(PETS(planner=ICEM())), "algorithm")
    assert changed is not None and changed.startswith('algorithm.planner is "forethought.planning.cem.CEM" there and')
    assert first_difference({"a": 1}, {"a": 1, "b": True}) == "b is null there and true here"
    assert first_difference({"a": 1}, {"a": True}) == "a is 1 there and true here"
