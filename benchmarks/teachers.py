"""The PETS runs that are distilled: trained now if they are not there, as by `ladder.py` and `learning.py`."""

from pathlib import Path

from command import forethought
from common import ROOT
from ladder import RUNGS, TASKS
from learning import EXPERIMENTS
from trainings import Experiment, command

ENV, _, STEPS = TASKS["cart-pole"]
PETS = {  # task: its runs, and what trains them
    "cart-pole": ("ladder/cart-pole-pets", Experiment("pets", ENV, STEPS, RUNGS["pets"].removeprefix("pets "))),
    "cheetah": ("learning/cheetah", EXPERIMENTS["cheetah"]),
}


def pets_run(task: str, seed: int) -> Path:
    """Where the run of this seed is, trained to its end."""
    name, experiment = PETS[task]
    out = ROOT / "runs" / f"{name}-seed{seed}"
    forethought(*command(experiment, seed), "--out", str(out), "--resume")
    return out
