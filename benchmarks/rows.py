"""Results of long benchmarks: one row for each task, variant and seed, saved as it comes; what is there is left out.

A row is a dictionary; some of its keys, such as task and seed, are its identity.  Several processes may fill one file.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from common import RESULTS, hardware

TUNING_SEEDS = tuple(range(100, 120))  # their results were looked at while settings changed: not to be quoted
REPORTING_SEEDS = tuple(range(40, 45))  # used only with settings that are fixed
Row = dict[str, Any]
Rows = Iterator[tuple[Row, Callable[[], Row]]]  # the identity of a row, and what measures the rest of it


def fill(part: str, file: str, rows: Iterable[tuple[Row, Callable[[], Row]]], *, quick: bool = False) -> None:
    """Measure the rows that `benchmarks/results/FILE.json` lacks, and save each; `quick`: all of them, none saved."""
    path = RESULTS / f"{file}.json"
    for about, measure in rows:
        if not quick and any(about == _identity(row, about) for row in saved(path)):
            continue
        row = about | {"seed_kind": seed_kind(about["seed"])} | measure()
        print(part, json.dumps({name: value for name, value in row.items() if name != "curve"}), flush=True)
        if not quick:
            RESULTS.mkdir(exist_ok=True)
            whole = [*saved(path), row]  # read again: another process may have saved one
            path.write_text(json.dumps({"hardware": hardware(), "rows": whole}, indent=1) + "\n")


def saved(path: Path) -> list[Row]:
    """The rows of a file; none if there is no file."""
    return json.loads(path.read_text())["rows"] if path.exists() else []


def reporting(file: str) -> list[Row]:
    """The saved rows of reporting seeds."""
    return [row for row in saved(RESULTS / f"{file}.json") if row["seed_kind"] == "reporting"]


def seed_kind(seed: int, tuning: Sequence[int] = TUNING_SEEDS, reporting_seeds: Sequence[int] = REPORTING_SEEDS) -> str:
    """Whether results of a seed may be quoted: those of `reporting` seeds only."""
    return "tuning" if seed in tuning else "reporting" if seed in reporting_seeds else "other"


def _identity(row: Row, about: Row) -> Row:
    return {name: row.get(name) for name in about}
