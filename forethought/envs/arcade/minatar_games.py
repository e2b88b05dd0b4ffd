"""The MinAtar games by name.  This module imports no large package."""

from dataclasses import dataclass

from forethought.core.errors import UsageError, nearest

NAMESPACE, VERSION = "MinAtar/", "-v1"


@dataclass(frozen=True)
class MinAtarGame:
    """Description of a game."""

    description: str  # one line
    pgx_id: str  # name in pgx


GAMES = {
    "Asterix": MinAtarGame("collect treasure and avoid enemies", "minatar-asterix"),
    "Breakout": MinAtarGame("break bricks with a ball without losing the ball", "minatar-breakout"),
    "Freeway": MinAtarGame("cross a road between cars as often as possible", "minatar-freeway"),
    "Seaquest": MinAtarGame("shoot enemies, rescue divers and surface for oxygen", "minatar-seaquest"),
    "SpaceInvaders": MinAtarGame("shoot aliens and avoid their bullets", "minatar-space_invaders"),
}
IDS = {NAMESPACE + name + VERSION: game for name, game in GAMES.items()}


def is_minatar(id: str) -> bool:
    """Whether `id` is meant as a MinAtar game: "MinAtar/...", in upper or lower case."""
    return id.casefold().startswith(NAMESPACE.casefold())


def full_id(id: str) -> str:
    """The id of a game, "MinAtar/Breakout-v1", also for "minatar/breakout"; any other text unchanged."""
    known = {spelling.casefold(): full for full in IDS for spelling in (full, full.removesuffix(VERSION))}
    return known.get(id.casefold().replace("_", "").replace("space-invaders", "spaceinvaders"), id)


def minatar_game(id: str) -> MinAtarGame:
    """The game of this id.

    Raises:
        UsageError: there is no such game.
    """
    full = full_id(id)
    if full in IDS:
        return IDS[full]
    name, _, version = id[len(NAMESPACE) :].partition("-v")
    if version and full_id(NAMESPACE + name) in IDS:
        raise UsageError(f"There is no environment '{id}'; did you mean '{full_id(NAMESPACE + name)}'?")
    guess = nearest(name.title(), GAMES)
    hint = guess.replace(found := guess.split("'")[1], NAMESPACE + found + VERSION) if "'" in guess else guess
    raise UsageError(f"There is no MinAtar game '{id}'; {hint}")
