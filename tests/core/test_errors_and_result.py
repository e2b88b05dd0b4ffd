import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.core import EnvironmentFailure, ForethoughtError, NumericalFailure, Result, UsageError, nearest

NAMES = ["HalfCheetah-v5", "CartPoleSwingUp-v0", "Reacher-v5"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("halfcheetah-v5", "HalfCheetah-v5"),
        ("HalfCheeta", "HalfCheetah-v5"),
        ("CartpoleSwingup", "CartPoleSwingUp-v0"),
        ("Reecher-v5", "Reacher-v5"),
    ],
)
def test_nearest_finds_what_was_meant(typed, meant):
    assert nearest(typed, NAMES) == f"did you mean '{meant}'?"


def test_nearest_lists_all_where_none_is_near():
    assert nearest("zzz", NAMES) == "known: CartPoleSwingUp-v0, HalfCheetah-v5, Reacher-v5"
    assert nearest("x", []) == "none is known"


@given(st.text(), st.lists(st.text()))
def test_nearest_only_ever_suggests_what_exists(name, known):
    answer = nearest(name, known)
    if answer.startswith("did you mean '"):
        assert answer.removeprefix("did you mean '").removesuffix("'?") in known


def test_failures_are_values_until_thrown():
    for fine in (Result.converged, Result.budget_exhausted):
        fine.throw()
    for bad in (Result.not_finite, Result.not_positive_definite):
        with pytest.raises(NumericalFailure, match="finite|definite"):
            bad.throw()
    assert all(result.message for result in Result)


def test_errors_that_a_user_meets_share_one_family():
    assert issubclass(UsageError, ForethoughtError)
    failure = EnvironmentFailure("it broke", episode="what came before")
    assert str(failure) == "it broke" and failure.episode == "what came before"
    assert EnvironmentFailure("it broke").episode is None
