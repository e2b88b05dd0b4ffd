"""`read_data`: logged data from a file (CSV, Parquet, NPZ) or a Minari data set.  Reading never executes code."""

from pathlib import Path

import numpy as np

from forethought.core import UsageError
from forethought.envs.logged.arrays import read_npz
from forethought.envs.logged.cutting import cut
from forethought.envs.logged.data import DataOptions, LoggedData, action_range
from forethought.envs.logged.minari_data import minari_folder, read_minari
from forethought.envs.logged.tables import names_of, read_csv, read_parquet

MOST_BYTES = 2**30  # size of a file that is read as a whole
KINDS = (".csv", ".tsv", ".txt", ".parquet", ".npz")


def read_data(source: str | Path, options: DataOptions = DataOptions(), *, most_bytes: int = MOST_BYTES) -> LoggedData:  # noqa: B008
    """The episodes in a file or a Minari data set, with names, units and the time step.

    Args:
        source: a .csv, .parquet or .npz file, or the id or folder of a local Minari data set.
        options: what the file does not say.
        most_bytes: a larger file is refused, unless `options.rows` bounds what is read of it.
    Raises:
        UsageError: there is no such file, or it cannot be used; the message is one line with the reason.
    """
    path = Path(source)
    folder = minari_folder(str(source))
    if folder is not None:
        return read_minari(folder, str(source), options, most_bytes)
    kind = path.suffix.lower()
    if not path.is_file():
        what = "is a folder without data" if path.is_dir() else "does not exist"
        raise UsageError(f"{source} {what}: name a run, a Minari data set, or a file ({', '.join(KINDS)}).")
    if kind not in KINDS:
        raise UsageError(f"{source}: files are read by their ending, one of {', '.join(KINDS)}; this is '{kind}'.")
    if kind == ".npz":
        return read_npz(path, options, most_bytes)
    size = path.stat().st_size
    if size > most_bytes and options.rows is None and kind != ".parquet":
        raise UsageError(
            f"{path.name} has {size / 2**30:.1f} GiB; files of up to {most_bytes / 2**30:.0f} GiB are read as a whole: "
            "read only its first rows with --rows N, or split it."
        )
    rows, columns = read_parquet(path, options, most_bytes) if kind == ".parquet" else read_csv(path, options)
    names = names_of(columns)
    episodes, dt, notes = cut(rows, names, options.dt, path.name)
    space = action_range(np.concatenate([episode.u for episode in episodes]), names[1])
    return LoggedData(path.name, episodes, *names, space, dt, rows.reward is not None, notes)
