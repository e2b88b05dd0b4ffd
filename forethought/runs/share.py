"""Export of a run's experience as a Minari dataset, for other libraries."""

import warnings
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from forethought.core import Transition, UsageError, box_of
from forethought.envs.logged.minari_data import OURS
from forethought.runs import transitions
from forethought.runs.names import names_of
from forethought.runs.run import Run

if TYPE_CHECKING:
    from minari import MinariDataset


def export_minari(run: Run, dataset_id: str) -> "MinariDataset":
    """Write the whole episodes of `run` as a local Minari dataset, and return it.

    Args:
        run: a run, from `train` or `load`.
        dataset_id: such as `cartpole/pets-v0`; Minari stores it in its own folder (`MINARI_DATASETS_PATH`).
    Raises:
        UsageError: Minari is not installed, there is nothing to export, or the dataset exists.
    """
    try:
        import h5py  # noqa: F401  the format that Minari writes by default
        import minari
    except ImportError as problem:
        raise UsageError("exporting needs Minari: pip install 'forethought[minari]'.") from problem
    episodes = transitions.load_episodes(run.path / "transitions")
    if not episodes:
        raise UsageError(f"{run.path} has no whole episode to export.")
    task, spec = run.env.task, run.info["env"]["spec"]
    about = {
        "algorithm_name": type(run.algorithm).__name__,
        "action_space": gymnasium.spaces.Box(
            np.asarray(box_of(task).low), np.asarray(box_of(task).high), dtype=np.float32
        ),
        "observation_space": gymnasium.spaces.Box(-np.inf, np.inf, (run.env.space.size,), np.float32),
        "description": f"All experience of a training run on {spec or run.env.name}, in order.",
    }
    buffers = [_buffer(minari.data_collector.EpisodeBuffer, i, episode) for i, episode in enumerate(episodes)]
    ours = {OURS: {**names_of(run.env), "dt": float(task.dt)}}  # what Minari has no place for, read by `train --data`
    try:
        with warnings.catch_warnings():  # Minari asks for an author and a link to code, which a run does not know
            warnings.filterwarnings("ignore", category=UserWarning, module="minari")
            dataset = minari.create_dataset_from_buffers(dataset_id, buffers, **about)
        dataset.storage.update_metadata(ours)
        return dataset
    except ValueError as problem:  # an invalid name, or one that exists
        raise UsageError(f"Minari refuses the dataset '{dataset_id}': {problem}") from problem


def _buffer(kind: Any, number: int, episode: Transition) -> Any:
    """An episode in Minari's format: T + 1 observations, T actions and rewards."""
    return kind(
        id=number,
        observations=np.concatenate([episode.x, episode.x_next[-1:]]),
        actions=np.asarray(episode.u),
        rewards=np.asarray(episode.reward),
        terminations=np.asarray(episode.terminated),
        truncations=np.asarray(episode.truncated),
        infos={},
    )
