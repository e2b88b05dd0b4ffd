"""The mazes of the textbook, as maps.  Light: nothing large is imported.

A map is text, one row on each line: S the start, G the goal, # a wall, . a free cell.
Source: Sutton & Barto (2018), figures 8.2 (Dyna maze), 8.4 (blocking maze) and 8.5 (shortcut maze).
"""

from dataclasses import dataclass

EPISODE_STEPS = 5000  # time limit; the textbook has none


@dataclass(frozen=True)
class Maze:
    """A maze; with two maps, the second one holds from the first episode that begins after step `change_after` on."""

    description: str  # one line
    maps: tuple[tuple[str, ...], ...]
    change_after: int | None = None  # steps in all episodes together


def _maze(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MAZES = {
    "DynaMaze-v0": Maze(
        "find the way through a maze of 6 x 9 cells; discrete",
        (_maze(".......#G ..#....#. S.#....#. ..#...... .....#... ........."),),
    ),
    "BlockingMaze-v0": Maze(
        "find the way around a wall whose gap closes after 1,000 steps while another one opens; discrete",
        (
            _maze("........G ......... ......... ########. ......... ...S....."),
            _maze("........G ......... ......... .######## ......... ...S....."),
        ),
        change_after=1000,
    ),
    "ShortcutMaze-v0": Maze(
        "find the way around a wall in which a second, better gap opens after 3,000 steps; discrete",
        (
            _maze("........G ......... ......... .######## ......... ...S....."),
            _maze("........G ......... ......... .#######. ......... ...S....."),
        ),
        change_after=3000,
    ),
}


def scaled(rows: tuple[str, ...], factor: int) -> tuple[str, ...]:
    """The map with `factor` x `factor` cells for each cell; the start is the first of its cells.

    Source: Sutton & Barto (2018), example 8.4, whose mazes differ in resolution only.
    """
    start = next((i, row.index("S")) for i, row in enumerate(rows) if "S" in row)
    large = [list("".join(cell * factor for cell in row).replace("S", ".")) for row in rows for _ in range(factor)]
    large[start[0] * factor][start[1] * factor] = "S"
    return tuple("".join(row) for row in large)
