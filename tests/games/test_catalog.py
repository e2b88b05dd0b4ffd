"""Names, notation and drawing: no rules are needed for them."""

import pytest

from forethought.core import UsageError
from forethought.games.catalog import GAMES, game


@pytest.mark.parametrize("name", GAMES)
def test_reading_inverts_writing_of_every_move(name):
    one = game(name)
    words = [one.write(move) for move in range(one.moves)]
    assert len(set(words)) == one.moves
    assert [one.read(word.lower()) for word in words] == list(range(one.moves))


@pytest.mark.parametrize(
    ("name", "move", "word"),
    [
        ("tic-tac-toe", 4, "5"),
        ("connect-four", 6, "7"),
        ("go-9x9", 0, "A9"),
        ("go-9x9", 8, "J9"),
        ("go-9x9", 81, "pass"),
    ],
)
def test_notation(name, move, word):
    assert game(name).write(move) == word


@pytest.mark.parametrize("word", ["0", "10", "x", "", "1.0"])
def test_an_invalid_move_error_says_how_to_write_one(word):
    with pytest.raises(UsageError, match="from 1 to 9"):
        game("tic-tac-toe").read(word)


def test_an_unknown_game_error_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'connect-four'"):
        game("connect4")


def test_boards_are_drawn_row_by_row():
    assert game("tic-tac-toe").draw([1, 0, 0, 0, 2, 0, 0, 0, 1], last=4) == " X  2  3\n 4 [O] 6\n 7  8  X"
    cells = [0] * 42
    cells[41], cells[34] = 1, 2
    lines = game("connect-four").draw(cells, last=34).splitlines()
    assert lines[-1].split() == list("1234567")
    assert lines[-2].endswith("X") and lines[-3].endswith("[O]") and len(lines) == 7
    lines = game("go-9x9").draw([1] + [0] * 80).splitlines()
    assert lines[0].split()[:3] == ["9", "X", "."] and lines[-1].split() == list("ABCDEFGHJ")
    assert lines[0].index("X") == lines[-1].index("A")
