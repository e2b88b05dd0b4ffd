"""Tables with named columns: CSV (also with semicolons or tabs) and Parquet, read in pieces."""

import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from forethought.core import UsageError
from forethought.envs.logged.columns import Columns, choose_columns, with_unit
from forethought.envs.logged.cutting import Rows
from forethought.envs.logged.data import DataOptions

PIECE = 20_000  # rows
LONGEST_LINE = 1_000_000  # characters
Table = dict[str, np.ndarray]


def read_csv(path: Path, options: DataOptions) -> tuple[Rows, Columns]:
    """The rows of a CSV file whose first line names the columns.

    Raises:
        UsageError: no text, unknown or missing columns, lines of different lengths, or cells that are not numbers.
    """
    with _as_text(path) as file:
        lines = _lines(file, path.name)
        first = next(lines, "")
        reader = csv.reader(itertools.chain([first], lines), delimiter=_delimiter(first))
        header = [cell.strip() for cell in next(reader, [])]
        columns = choose_columns(header, options, path.name)
        pieces = [_numbers(piece, header, columns, path.name) for piece in _pieces(reader, header, options, path.name)]
    return _rows(pieces, columns, path.name), columns


def read_parquet(path: Path, options: DataOptions, most_bytes: int) -> tuple[Rows, Columns]:
    """The rows of a Parquet file.

    Raises:
        UsageError: pyarrow is not installed, the file is damaged or too large, or columns are missing or not numbers.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as problem:
        raise UsageError("reading Parquet needs pyarrow: pip install 'forethought[data]'.") from problem
    try:
        with pq.ParquetFile(path) as file:
            columns = choose_columns(file.schema_arrow.names, options, path.name)
            size = 8 * len(columns.read) * file.metadata.num_rows
            if options.rows is None and size > most_bytes:
                raise UsageError(
                    f"{path.name} holds {size / 2**30:.1f} GiB of numbers; up to {most_bytes / 2**30:.0f} GiB are "
                    "read: read only its first rows with --rows N."
                )
            pieces, left = [], options.rows or file.metadata.num_rows
            for batch in file.iter_batches(batch_size=min(PIECE, left), columns=list(columns.read)):
                piece = batch.slice(0, left)
                pieces.append({name: _from_arrow(piece[name], name, columns, path.name) for name in columns.read})
                left -= len(piece)
                if left <= 0:
                    break
    except (pa.ArrowException, OSError) as problem:
        raise UsageError(f"{path.name} cannot be read as Parquet: {str(problem).splitlines()[0]}") from problem
    return _rows(pieces, columns, path.name), columns


@contextmanager
def _as_text(path: Path) -> Iterator[TextIO]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as problem:
        raise UsageError(f"{path.name} is not text in UTF-8, so it is not a CSV file.") from problem
    except csv.Error as problem:
        raise UsageError(f"{path.name} cannot be read as CSV: {problem}.") from problem


def _lines(file: TextIO, source: str) -> Iterator[str]:
    """The lines; a file without line ends is not read as a whole."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise UsageError(f"{source}: line {number} has over {LONGEST_LINE:,} characters; this is not a CSV file.")
        if "\0" in line:
            raise UsageError(f"{source}: line {number} holds a zero byte; this is not a CSV file.")
        yield line


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _pieces(reader: Any, header: Sequence[str], options: DataOptions, source: str) -> Iterator[list[list[str]]]:
    """Lists of lines, each with one cell for each column; blank lines are left out."""
    left = options.rows
    while left is None or left > 0:
        piece = []
        for row in itertools.islice(reader, PIECE if left is None else min(PIECE, left)):
            if not row:
                continue
            if len(row) != len(header):
                raise UsageError(
                    f"{source}: line {reader.line_num} has {len(row)} cells, and the first line names {len(header)} "
                    "columns; correct or remove this line."
                )
            piece.append(row)
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece


def _numbers(piece: list[list[str]], header: Sequence[str], columns: Columns, source: str) -> Table:
    """The columns that are read, as numbers; empty cells are NaN, the episode stays text."""
    table: Table = {}
    for name in columns.read:
        place = header.index(name)
        cells = [row[place].strip() for row in piece]
        if name == columns.episode:
            table[name] = np.array(cells)
            continue
        try:
            table[name] = np.array([_number(cell) for cell in cells])
        except ValueError as problem:
            wrong = next(cell for cell in cells if not _is_number(cell))
            raise UsageError(f"{source}: column '{name}' holds '{wrong[:40]}', which is not a number.") from problem
    return table


def _number(cell: str) -> float:
    return float(cell or "nan") if cell.casefold() not in _FLAGS else _FLAGS[cell.casefold()]


_FLAGS = {"true": 1.0, "false": 0.0}


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _from_arrow(values: Any, name: str, columns: Columns, source: str) -> np.ndarray:
    import pyarrow as pa

    if name == columns.episode:
        return np.asarray(values.cast(pa.string()).to_pylist(), dtype=object).astype(str)
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        unit = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[kind.unit] / columns.time_scale
        return values.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(float) * unit
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise UsageError(f"{source}: column '{name}' holds {kind}, not numbers.")
    return values.to_numpy(zero_copy_only=False).astype(float)


def _rows(pieces: Sequence[Table], columns: Columns, source: str) -> Rows:
    if not pieces or not len(next(iter(pieces[0].values()))):
        raise UsageError(f"{source} has no rows below the names of its columns.")

    def joined(name: str | None) -> np.ndarray | None:
        return None if name is None else np.concatenate([piece[name] for piece in pieces])

    def stacked(names: Sequence[str]) -> np.ndarray:
        return np.stack([np.concatenate([piece[name] for piece in pieces]) for name in names], axis=1)

    time, ended = joined(columns.time), [np.asarray(_flags(joined(name))) for name in columns.ended]
    return Rows(
        x=stacked(columns.states),
        u=stacked(columns.actions),
        reward=joined(columns.reward),
        terminated=_flags(joined(columns.terminated)),
        last=np.any(ended, axis=0) if ended else None,
        episode=joined(columns.episode),
        time=None if time is None else time * columns.time_scale,
    )


def _flags(values: np.ndarray | None) -> np.ndarray | None:
    """True where a number is neither 0 nor missing."""
    return None if values is None else (values != 0) & ~np.isnan(values)


def names_of(columns: Columns) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of states and actions, with units in parentheses."""
    rename: Callable[[str], str] = with_unit
    return tuple(map(rename, columns.states)), tuple(map(rename, columns.actions))
