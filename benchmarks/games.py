"""Board games: is Tic-tac-toe played perfectly, and how strong is the search elsewhere?

    python benchmarks/games.py                   # continues where it was stopped; results are stored for each pairing
    python benchmarks/games.py go-9x9            # one game
    python benchmarks/games.py --show            # only the tables and the figure, from the stored results

Tic-tac-toe: the search against every possible reply, in both seats, and in every position (mirror images apart) in
which a move can be a mistake; 100 games against exhaustive minimax. All games: matches, each player moving first in
half of the games, and Elo ratings by maximum likelihood (Bradley-Terry, one drawn game added to each pairing), with
standard errors from the Fisher information; "95 %" is the exact (Clopper-Pearson) confidence interval of the
probability to win a game that is not drawn, in percent. Times are processor seconds for one move with all games of a
round played at once; compilation is not counted.
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
        Pairing("puct 400", "minimax", 100),
        Pairing("puct 400", "random", 100),
        *everybody(["minimax", "plain Monte Carlo 3200", "1-ply", "random"], 100),
    ],
    "connect-four": [
        *everybody(["gumbel 200", "1-ply", "plain Monte Carlo 200", "random"], 100),
        Pairing("gumbel 200", "puct 200", 100),
    ],
    "go-9x9": [
        *everybody(["gumbel 64", "plain Monte Carlo 64", "random"], 100),
    ],
}
DEPTH = {"tic-tac-toe": 9, "connect-four": 42, "go-9x9": 120}  # of a playout, in moves; Go is then counted
PLAYOUTS = {"tic-tac-toe": 8, "connect-four": 1, "go-9x9": 1}  # random games for each simulation of a tree search
ANCHOR = "random"  # whose rating is 0
SEED = 0  # of the matches
SEEDS = 3  # of the checks of perfect play
ROUND = 50  # games of a match that are played at once, then saved


def player(name: str, game: str):
    """The player of that name."""
    from forethought.games.minimax import minimax_player
    from forethought.games.players import MonteCarloPlayer, OnePlyPlayer, RandomPlayer, SearchPlayer
    from forethought.games.playouts import Playouts
    from forethought.games.tree_search import GumbelSearch, PUCTSearch

    kind, _, number = name.rpartition(" ")
    playouts = Playouts(PLAYOUTS[game], DEPTH[game])
    if kind == "gumbel":
        return SearchPlayer(GumbelSearch(int(number)), playouts)
    if kind == "puct":
        return SearchPlayer(PUCTSearch(int(number)), playouts)
    if kind == "plain Monte Carlo":  # as many random games as the search has
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
            keep(name, "what it needs", what_it_needs)
        if name == "go-9x9" and not flags.only:
            keep(name, "random moves", random_moves)
        for pairing in MATCHES[name]:
            if not flags.only or flags.only in (pairing.a, pairing.b):
                play(name, pairing)
    show(known())


def known() -> dict:
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["games"] if path.exists() else {}


def keep(game: str, what: str, find, again: bool = False) -> None:
    """Measure something, unless it is stored already; save it."""
    if what in known().get(game, {}) and not again:
        return
    start = time.perf_counter()
    found = find()
    games = known()  # another process may have added to it meanwhile
    games.setdefault(game, {})[what] = found | {"hardware": hardware(), "wall_s": time.perf_counter() - start}
    save(NAME, {"games": games})
    print(f"{game}, {what}: {json.dumps(found)}", flush=True)


def play(game: str, pairing: Pairing) -> None:
    """A match in rounds, each of which is saved when it is over."""
    from forethought.games.match import Hand
    from forethought.games.rules import load_rules

    def so_far() -> dict:
        return known().get(game, {}).get(name, {"games": 0})

    name, hands = f"{pairing.a} - {pairing.b}", None
    while so_far()["games"] < pairing.games:
        if hands is None:
            rules = load_rules(game)
            hands = [Hand(rules, player(who, game)) for who in (pairing.a, pairing.b)]
        keep(game, name, lambda: add(so_far(), one_round(game, pairing, hands, so_far()["games"])), again=True)


def one_round(game: str, pairing: Pairing, hands: list, played: int) -> dict:
    """The next games of a match."""
    import jax.random as jr

    from forethought.games.match import play_match

    def progress(ply: int, over: int) -> None:
        if ply % 10 == 0:
            print(f"  {pairing.a} - {pairing.b}: ply {ply}, {over} games over", file=sys.stderr, flush=True)

    games, key = min(ROUND, pairing.games - played), jr.fold_in(jr.key(SEED), played)
    compact = game == "go-9x9"  # whose games end far apart
    result = play_match(hands[0].rules, *hands, games, key=key, compact=compact, progress=progress)
    settings = [str(hand.player) if "Table" not in str(hand.player) else "" for hand in hands]
    return {
        "a": pairing.a,
        "b": pairing.b,
        "settings": settings,
        "games": games,
        "moving_first": list(result.as_first),  # won, drawn, lost
        "moving_second": list(result.as_second),
        "plies": result.plies,
        "cpu_s_per_move": list(result.seconds),
    }


def add(before: dict, now: dict) -> dict:
    """Two parts of a match in one; means are over games."""
    share = now["games"] / (before["games"] + now["games"])
    total = dict(now)
    if before["games"]:
        total["games"] += before["games"]
        for seat in ("moving_first", "moving_second"):
            total[seat] = [x + y for x, y in zip(before[seat], now[seat], strict=True)]
        total["plies"] = (1 - share) * before["plies"] + share * now["plies"]
        both = zip(before["cpu_s_per_move"], now["cpu_s_per_move"], strict=True)
        total["cpu_s_per_move"] = [(1 - share) * x + share * y for x, y in both]
    won, drawn, lost = (x + y for x, y in zip(total["moving_first"], total["moving_second"], strict=True))
    return total | {"won": won, "drawn": drawn, "lost": lost, "seed": SEED}


def perfect_play() -> dict:
    """The search against every reply, and in every position of Tic-tac-toe."""
    import jax.random as jr

    from forethought.games.all_replies import against_all_replies
    from forethought.games.match import Hand
    from forethought.games.rules import load_rules

    name = MATCHES["tic-tac-toe"][0].a
    who = player(name, "tic-tac-toe")
    hand = Hand(load_rules("tic-tac-toe"), who)
    found = {"player": name, "settings": str(who), "seeds": SEEDS}
    for first, seat in ((False, "moving_second"), (True, "moving_first")):
        lines = [against_all_replies(hand, moves_first=first, key=jr.key(seed)) for seed in range(SEEDS)]
        print(f"  {name}, {seat}: {lines}", file=sys.stderr, flush=True)
        found[seat] = {end: [getattr(one, end) for one in lines] for end in ("won", "drawn", "lost")}
    return found | mistakes(hand)


def mistakes(hand) -> dict:
    """Number of mistakes over all positions in which one is possible."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    from forethought.games import minimax

    boards = minimax.decisions()
    lines = jnp.array([minimax.line_to(board) for board in boards])
    positions = jax.jit(jax.vmap(hand.rules.replay))(lines)
    keys = [jr.split(jr.key(SEEDS + seed), len(boards)) for seed in range(SEEDS)]
    chosen = [hand.choose(positions, key).tolist() for key in keys]
    wrong = [sum(not minimax.best_moves(b)[m] for b, m in zip(boards, moves, strict=True)) for moves in chosen]
    return {"decisions": len(boards), "mistakes": wrong}


def what_it_needs() -> dict:
    """Mistakes at half the simulations, with and without proofs and averaged playouts."""
    from forethought.games.match import Hand
    from forethought.games.players import SearchPlayer
    from forethought.games.playouts import Playouts
    from forethought.games.rules import load_rules
    from forethought.games.tree_search import PUCTSearch

    rules, found = load_rules("tic-tac-toe"), {}
    for proofs in (True, False):
        for playouts in (8, 1):
            hand = Hand(rules, SearchPlayer(PUCTSearch(200, proofs=proofs), Playouts(playouts, DEPTH["tic-tac-toe"])))
            name = f"{playouts} playouts, {'with' if proofs else 'without'} proofs"
            found[name] = mistakes(hand)["mistakes"]
    return {"simulations": 200, "mistakes": found}


def random_moves() -> dict:
    """Processor time of one move in random games of Go, on bit boards and by the full rules, 50 games at once."""
    import jax
    import jax.random as jr

    from forethought.games.playouts import pick
    from forethought.games.rules import load_rules

    rules, games, depth = load_rules("go-9x9"), 50, 60

    def by_rules(position, key):
        def step(position, key):
            return rules.play(position, pick(rules.sensible(position), key=key)), None

        return jax.lax.scan(step, position, jr.split(key, depth))[0].outcome

    sides = {
        "by the full rules": by_rules,
        "on rows of bits": lambda position, key: rules.knowledge.random_game(position.state, depth, key=key),
    }
    found = {}
    for name, side in sides.items():
        run = jax.jit(jax.vmap(side, (None, 0)))
        times = []
        for i in range(6):
            start = time.process_time()
            jax.block_until_ready(run(rules.opening, jr.split(jr.key(i), games)))
            times.append(time.process_time() - start)
        found[name] = 1e6 * min(times[1:]) / games / depth  # the first call compiles
    return {"us_per_move": found, "ratio": found["by the full rules"] / found["on rows of bits"]}


def ratings(pairings: list[dict]) -> dict[str, tuple[float, float]]:
    """Elo and standard error by player."""
    import numpy as np

    from forethought.games.elo import rate

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


def interval(pairing: dict) -> str:
    """Interval of the probability that `a` wins a game that is not drawn, in percent."""
    from forethought.games.elo import share_won

    if not (games := pairing["won"] + pairing["lost"]):
        return "-"
    low, high = share_won(pairing["won"], games)
    return f"{100 * low:.0f}-{100 * high:.0f}"


def show(games: dict) -> None:
    """Tables of matches and ratings, and the picture."""
    elos = {}
    for game, found in games.items():
        pairings = [one for one in found.values() if "a" in one]
        rows = [
            [f"{p['a']} - {p['b']}", p["games"], p["won"], p["drawn"], p["lost"], interval(p), p["plies"]]
            + [1e3 * s for s in p["cpu_s_per_move"]]
            for p in pairings
        ]
        print(f"\n{game}")
        if "perfect play" in found:
            perfect = found["perfect play"]
            for seat in ("moving_first", "moving_second"):
                total = {end: sum(perfect[seat][end]) for end in ("won", "drawn", "lost")}
                print(f"  {perfect['player']} {seat.replace('_', ' ')}, all replies, {perfect['seeds']} seeds: {total}")
            print(
                f"  in {perfect['decisions']} positions where a move may be a mistake: {perfect['mistakes']} mistakes"
            )
        if not rows:
            continue
        print(describe(pairings[0]["hardware"]))
        header = ["match", "games", "won", "drawn", "lost", "95 %", "plies", "a [cpu ms/move]", "b [cpu ms/move]"]
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
        center = [found[name][0] for name in names]
        axis.errorbar(center, range(len(names)), xerr=[2 * found[name][1] for name in names], fmt="o", capsize=3)
        axis.set_yticks(range(len(names)), names)
        axis.set(title=game, xlabel=f"Elo, {ANCHOR} = 0; bars: 2 standard errors", ylim=(-0.5, len(names) - 0.5))
        axis.grid(axis="x", alpha=0.3)
    figure.savefig(ROOT / "docs" / "img" / "games_elo.svg", metadata={"Date": None})


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
