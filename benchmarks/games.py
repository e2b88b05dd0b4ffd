"""Games by their rules: is play perfect where it can be, and how strong is it elsewhere?

    python benchmarks/games.py                   # continues where it was stopped; results are kept for each pairing
    python benchmarks/games.py go-9x9            # one game
    python benchmarks/games.py --show            # the tables and the picture again, from what is known

Tic-tac-toe: the search against every possible reply, in both seats, and in every position that can come up.  All games:
matches, each player moving first in half of the games, and Elo ratings by maximum likelihood (Bradley-Terry, one drawn
game added to each pairing), with standard errors from the Fisher information.  Times are processor seconds for one
move with all games of a match played at once; compilation is not counted.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass

from common import RESULTS, ROOT, describe, hardware, save, table

sys.path.insert(0, str(ROOT))  # this checkout, installed or not
NAME = "games"


@dataclass(frozen=True)
class Pairing:
    """A match to be played."""

    a: str
    b: str
    games: int


def everybody(names: list[str], games: int) -> list[Pairing]:
    return [Pairing(a, b, games) for i, a in enumerate(names) for b in names[i + 1 :]]


MATCHES = {
    "tic-tac-toe": [
        Pairing("puct 1000", "minimax", 100),
        Pairing("puct 1000", "random", 100),
        *everybody(["minimax", "plain Monte Carlo 1000", "1-ply", "random"], 100),
    ],
    "connect-four": [
        *everybody(["gumbel 200", "1-ply", "plain Monte Carlo 200", "random"], 100),
        Pairing("gumbel 200", "puct 200", 100),
    ],
    "go-9x9": [
        Pairing("gumbel 64", "random", 20),
        Pairing("gumbel 64", "plain Monte Carlo 64", 10),
    ],
}
DEPTH = {"tic-tac-toe": 9, "connect-four": 42, "go-9x9": 60}  # of a playout, in moves; Go is then counted
ANCHOR = "random"  # whose rating is 0
SEEDS = 2  # of the check against all replies


def player(name: str, game: str):
    """The player of that name."""
    from forethought.planning.minimax import minimax_player
    from forethought.planning.players import MonteCarloPlayer, OnePlyPlayer, RandomPlayer, SearchPlayer
    from forethought.planning.playouts import Playouts
    from forethought.planning.tree_search import GumbelSearch, PUCTSearch

    kind, _, number = name.rpartition(" ")
    playouts = Playouts(depth=DEPTH[game])
    if kind == "gumbel":
        return SearchPlayer(GumbelSearch(int(number)), playouts)
    if kind == "puct":
        return SearchPlayer(PUCTSearch(int(number)), playouts)
    if kind == "plain Monte Carlo":  # as many playouts as the search has
        return MonteCarloPlayer(int(number), DEPTH[game])
    return {"random": RandomPlayer, "1-ply": OnePlyPlayer, "minimax": minimax_player}[name]()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("games", nargs="*", choices=[[], *MATCHES], metavar="GAME", help="which games")
    parser.add_argument("--only", metavar="NAME", help="only matches with this player, as 'plain Monte Carlo 64'")
    parser.add_argument("--show", action="store_true", help="play nothing, show what is known")
    flags = parser.parse_args()
    for name in [] if flags.show else flags.games or MATCHES:
        if name == "tic-tac-toe" and not flags.only:
            keep(name, "perfect play", perfect_play)
        for pairing in MATCHES[name]:
            if flags.only and flags.only not in (pairing.a, pairing.b):
                continue
            keep(name, f"{pairing.a} - {pairing.b}", lambda pairing=pairing, name=name: match(name, pairing))
    show(known())


def known() -> dict:
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["games"] if path.exists() else {}


def keep(game: str, what: str, find) -> None:
    """Find something out, unless it is known already; save it."""
    if what in known().get(game, {}):
        return
    start = time.perf_counter()
    found = find()
    games = known()  # another process may have added to it meanwhile
    games.setdefault(game, {})[what] = found | {"hardware": hardware(), "wall_s": time.perf_counter() - start}
    save(NAME, {"games": games})
    print(f"{game}, {what}: {json.dumps(found)}", flush=True)


def match(game: str, pairing: Pairing) -> dict:
    """One match."""
    import jax.random as jr

    from forethought.dynamics.rules import load_rules
    from forethought.planning.match import play_match

    def progress(ply: int, over: int) -> None:
        if ply % 10 == 0:
            print(f"  {pairing.a} - {pairing.b}: ply {ply}, {over} games over", file=sys.stderr, flush=True)

    seed = sum(map(ord, pairing.a + pairing.b))
    a, b = player(pairing.a, game), player(pairing.b, game)
    compact = game == "go-9x9"  # whose games end far apart
    played = play_match(load_rules(game), a, b, pairing.games, key=jr.key(seed), compact=compact, progress=progress)
    return {
        "a": pairing.a,
        "b": pairing.b,
        "settings": [str(a) if "Table" not in str(a) else "", str(b) if "Table" not in str(b) else ""],
        "games": played.games,
        "won": played.won,
        "drawn": played.drawn,
        "lost": played.games - played.won - played.drawn,
        "moving_first": played.as_first,
        "moving_second": played.as_second,
        "plies": played.plies,
        "cpu_s_per_move": played.seconds,
        "seed": seed,
    }


def perfect_play() -> dict:
    """The search against every reply, and in every position of Tic-tac-toe."""
    import jax.random as jr

    from forethought.dynamics.rules import load_rules
    from forethought.planning.all_replies import against_all_replies
    from forethought.planning.match import Hand

    name = MATCHES["tic-tac-toe"][0].a
    who = player(name, "tic-tac-toe")
    hand = Hand(load_rules("tic-tac-toe"), who)
    found = {"player": name, "settings": str(who), "seeds": SEEDS}
    for first, seat in ((False, "moving_second"), (True, "moving_first")):
        lines = [against_all_replies(hand, moves_first=first, key=jr.key(seed)) for seed in range(SEEDS)]
        print(f"  {name}, {seat}: {lines}", file=sys.stderr, flush=True)
        found[seat] = {end: [getattr(one, end) for one in lines] for end in ("won", "drawn", "lost")}
    return found


def ratings(pairings: list[dict]) -> dict[str, tuple[float, float]]:
    """Elo and standard error by player."""
    import numpy as np

    from forethought.planning.elo import rate

    names = sorted({name for one in pairings for name in (one["a"], one["b"])})
    points, games = np.zeros((2, len(names), len(names)))
    for one in pairings:
        i, j = names.index(one["a"]), names.index(one["b"])
        score = one["won"] + one["drawn"] / 2
        points[i, j], points[j, i] = score, one["games"] - score
        games[i, j] = games[j, i] = one["games"]
    found = rate(points, games, anchor=names.index(ANCHOR))
    by_name = {name: (float(found.elo[i]), float(found.std[i])) for i, name in enumerate(names)}
    return dict(sorted(by_name.items(), key=lambda item: -item[1][0]))


def show(games: dict) -> None:
    """Tables of matches and ratings, and the picture."""
    elos = {}
    for game, found in games.items():
        pairings = [one for what, one in found.items() if what != "perfect play"]
        rows = [
            [f"{p['a']} - {p['b']}", p["games"], p["won"], p["drawn"], p["lost"], p["plies"]]
            + [1e3 * s for s in p["cpu_s_per_move"]]
            for p in pairings
        ]
        print(f"\n{game}")
        if "perfect play" in found:
            perfect = found["perfect play"]
            for seat in ("moving_first", "moving_second"):
                total = {end: sum(perfect[seat][end]) for end in ("won", "drawn", "lost")}
                print(f"  {perfect['player']} {seat.replace('_', ' ')}, all replies, {perfect['seeds']} seeds: {total}")
        if not rows:
            continue
        print(describe(pairings[0]["hardware"]))
        header = ["match", "games", "won", "drawn", "lost", "plies", "a [cpu ms/move]", "b [cpu ms/move]"]
        print(table(header, rows))
        if any(ANCHOR in (p["a"], p["b"]) for p in pairings):
            elos[game] = ratings(pairings)
            print(
                table(
                    ["Elo", "rating", "std. error"], [[n, f"{r:.0f}", f"{s:.0f}"] for n, (r, s) in elos[game].items()]
                )
            )
    if elos:
        draw(elos)


def draw(elos: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Ratings with two standard errors, a panel for each game."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "games"  # the same numbers give the same file
    figure, axes = plt.subplots(1, len(elos), figsize=(3.9 * len(elos), 2.5), squeeze=False, layout="constrained")
    for axis, (game, found) in zip(axes[0], elos.items(), strict=True):
        names = list(found)[::-1]
        centre = [found[name][0] for name in names]
        axis.errorbar(centre, range(len(names)), xerr=[2 * found[name][1] for name in names], fmt="o", capsize=3)
        axis.set_yticks(range(len(names)), names)
        axis.set(title=game, xlabel=f"Elo, {ANCHOR} = 0; bars: 2 standard errors", ylim=(-0.5, len(names) - 0.5))
        axis.grid(axis="x", alpha=0.3)
    figure.savefig(ROOT / "docs" / "img" / "games_elo.svg", metadata={"Date": None})


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
