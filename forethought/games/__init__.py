"""Two-player board games with known rules: tree search and other players, matches, and Elo ratings."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.games.all_replies import against_all_replies
    from forethought.games.elo import rate
    from forethought.games.evaluation import ValueFunction
    from forethought.games.match import Match, play_match
    from forethought.games.minimax import minimax_player
    from forethought.games.players import MonteCarloPlayer, OnePlyPlayer, RandomPlayer, SearchPlayer
    from forethought.games.playouts import Playouts
    from forethought.games.rules import load_rules
    from forethought.games.tree_search import GumbelSearch, PUCTSearch

__all__ = [
    "GumbelSearch",
    "Match",
    "MonteCarloPlayer",
    "OnePlyPlayer",
    "Playouts",
    "PUCTSearch",
    "RandomPlayer",
    "SearchPlayer",
    "ValueFunction",
    "against_all_replies",
    "load_rules",
    "minimax_player",
    "play_match",
    "rate",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
