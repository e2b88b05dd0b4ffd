"""A game in the terminal, against an opponent that is quick to compile."""

import builtins

import jax.numpy as jnp
import pytest

from forethought.cli.main import main
from forethought.games import players
from forethought.games.playouts import Playouts
from forethought.games.tree_search import Choice, GumbelSearch, PUCTSearch

pytest.importorskip("pgx")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class LastLegal:
    """Makes the last legal move, and is sure of winning three times in four."""

    def search(self, rules, position, evaluate, *, key):
        legal = position.legal
        move = legal.shape[0] - 1 - jnp.argmax(legal[::-1])
        return Choice(move, legal / legal.sum(), jnp.array(0.5))


@pytest.fixture
def typed(monkeypatch):
    """Give the words that the person types; the settings that the search was made with come back."""
    made = []

    class Player:
        def __init__(self, search, evaluate):
            made.append((search, evaluate))
            self.search, self.evaluate = LastLegal(), evaluate

    monkeypatch.setattr(players, "SearchPlayer", Player)

    def install(*words):
        queue = list(words)

        def answer(prompt):
            if not queue:
                raise EOFError
            word = queue.pop(0)
            if isinstance(word, BaseException):
                raise word
            return word

        monkeypatch.setattr(builtins, "input", answer)
        return made

    return install


def test_a_person_wins(typed, capsys):
    """1, 2, 3 against 9, 8; on the way one word that is no move and one move that is taken."""
    made = typed("1", "nonsense", "9", "2", "3")
    assert main("play tic-tac-toe --simulations 7 --playouts 3 --value-scale 0.5".split()) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("You win.")
    assert "'nonsense' is not a move; write a cell from 1 to 9" in out
    assert "9 is not legal here; legal: 2 3 4 5 6 7 8" in out
    assert "legal moves: 1 2 3 4 5 6 7 8 9" in out
    assert "The search plays 9; it estimates its chance of winning at 75%." in out
    assert " X  X [X]" in out
    assert made == [(GumbelSearch(simulations=7, value_scale=0.5), Playouts(playouts=3))]


def test_the_search_moves_first(typed, capsys):
    made = typed("1", "2", "4")  # it takes 9, 8, 7
    assert main("play tic-tac-toe --second --search puct --exploration 3".split()) == 0
    out = capsys.readouterr().out
    assert "you are O and move second" in out and out.rstrip().endswith("The search wins.")
    assert made[0][0] == PUCTSearch(exploration=3.0)


@pytest.mark.parametrize(
    ("words", "status"), [(("1", "quit"), 0), ((EOFError(),), 0), ((KeyboardInterrupt(),), 130)], ids=str
)
def test_leaving_is_no_accident(typed, capsys, words, status):
    typed(*words)
    assert main(["play", "tic-tac-toe"]) == status
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert ("You left the game of Tic-tac-toe." in out) == (status == 0)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["play", "conect-four"], "did you mean 'connect-four'?"),
        (["play", "go-9x9", "--search", "pct"], "did you mean 'puct'?"),
        (["play", "go-9x9", "--simulations", "0"], "simulations must be positive"),
        (["play", "go-9x9", "--first", "--second"], "not allowed with"),
        (["play"], "GAME"),
    ],
)
def test_wrong_usage_is_one_line(words, hint, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert hint in err and err.count("\n") == 1
