import numpy as np
import pytest
from scipy.stats import binom

from forethought.core import UsageError
from forethought.games.elo import rate, share_won


def table(*results):
    """Points and games of players from (i, j, points of i, games)."""
    size = 1 + max(max(i, j) for i, j, _, _ in results)
    points, games = np.zeros((2, size, size))
    for i, j, won, played in results:
        points[i, j], points[j, i] = won, played - won
        games[i, j] = games[j, i] = played
    return points, games


@pytest.mark.parametrize("prior", [0.0, 1.0, 5.0])
@pytest.mark.parametrize(("won", "played"), [(75, 100), (50, 100), (12.5, 20), (3, 1000)])
def test_two_players_by_the_formula(won, played, prior):
    """R = 400 log10(s / (n - s)), and the variance of its log-odds is 1 / (n p (1 - p))."""
    ratings = rate(*table((0, 1, played - won, played)), prior=prior)
    share, n = (won + prior / 2) / (played + prior), played + prior
    assert ratings.elo[0] == ratings.std[0] == 0
    assert ratings.elo[1] == pytest.approx(400 * np.log10(share / (1 - share)), abs=1e-6)
    assert ratings.std[1] == pytest.approx(400 / np.log(10) / np.sqrt(n * share * (1 - share)))


def test_consistent_results_recover_the_ratings():
    truth = np.array([0.0, 120.0, -300.0, 410.0])
    p = 1 / (1 + 10 ** ((truth[None] - truth[:, None]) / 400))
    games = 50 * (1 - np.eye(4))
    np.testing.assert_allclose(rate(games * p, games, prior=0.0).elo, truth, atol=1e-6)
    np.testing.assert_allclose(rate(games * p, games, prior=0.0, anchor=2).elo, truth + 300, atol=1e-6)


def test_standard_errors_equal_the_spread_over_tournaments():
    truth = np.array([0.0, 100.0, 250.0])
    p = 1 / (1 + 10 ** ((truth[None] - truth[:, None]) / 400))
    games = 80 * (1 - np.eye(3))
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        upper = np.triu(rng.binomial(80, p), 1).astype(float)
        found.append(rate(upper + np.tril(80 - upper.T, -1), games, prior=0.0))
    np.testing.assert_allclose(np.std([one.elo for one in found], axis=0)[1:], found[0].std[1:], rtol=0.15)


def test_a_player_who_won_every_game_needs_a_prior():
    won = table((0, 1, 100, 100))
    with pytest.raises(UsageError, match="prior"):
        rate(*won, prior=0.0)
    ratings = rate(*won)
    assert ratings.elo[1] == pytest.approx(400 * np.log10(0.5 / 100.5))


def test_unconnected_players_are_refused():
    with pytest.raises(UsageError, match="connected"):
        rate(*table((0, 1, 5, 10), (2, 3, 5, 10)))


@pytest.mark.parametrize(("won", "games"), [(8, 10), (63, 94), (1, 100), (50, 100)])
def test_the_interval_has_the_binomial_tail_probabilities(won, games):
    low, high = share_won(won, games)
    assert binom.sf(won - 1, games, low) == pytest.approx(0.025)  # as many, or more
    assert binom.cdf(won, games, high) == pytest.approx(0.025)
    other = share_won(games - won, games)
    assert (1 - other[1], 1 - other[0]) == pytest.approx((low, high))


def test_the_interval_if_every_game_was_won():
    low, high = share_won(20, 20)
    assert high == 1 and low == pytest.approx(0.025 ** (1 / 20))
    assert share_won(0, 20)[0] == 0
