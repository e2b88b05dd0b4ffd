"""mbrl's own example settings, read from the installed package, with the optimizer files that its wheel leaves out."""

from pathlib import Path

import mbrl
from omegaconf import DictConfig, OmegaConf

EXAMPLES = Path(mbrl.__file__).parent / "examples" / "conf"

# examples/conf/action_optimizer/ of the repository at the 0.2.0 release; the wheel does not contain it.
CEM = {
    "_target_": "mbrl.planning.CEMOptimizer",
    "num_iterations": "${overrides.cem_num_iters}",
    "elite_ratio": "${overrides.cem_elite_ratio}",
    "population_size": "${overrides.cem_population_size}",
    "alpha": "${overrides.cem_alpha}",
    "lower_bound": "???",
    "upper_bound": "???",
    "return_mean_elites": True,
    "device": "${device}",
}
OPTIMizERS = {
    "pets_cartpole": CEM | {"clipped_normal": "${overrides.cem_clipped_normal}"},
    "pets_icem_cartpole": CEM
    | {
        "_target_": "mbrl.planning.ICEMOptimizer",
        "population_decay_factor": "${overrides.cem_population_decay_factor}",
        "colored_noise_exponent": "${overrides.cem_colored_noise_exponent}",
        "keep_elite_frac": "${overrides.cem_keep_elite_frac}",
        "population_size_module": "${dynamics_model.ensemble_size}",
    },
}


def settings(override: str, *, seed: int = 0) -> DictConfig:
    """The settings of one of its examples for the continuous cart-pole, on the CPU."""
    return OmegaConf.create(
        {
            "seed": seed,
            "device": "cpu",
            "debug_mode": False,
            "algorithm": OmegaConf.load(EXAMPLES / "algorithm" / "pets.yaml"),
            "dynamics_model": OmegaConf.load(EXAMPLES / "dynamics_model" / "gaussian_mlp_ensemble.yaml"),
            "overrides": OmegaConf.load(EXAMPLES / "overrides" / f"{override}.yaml"),
            "action_optimizer": OPTIMizERS[override],
        }
    )


def five_members(override: str = "pets_cartpole") -> DictConfig:
    """The same with the five members that plan, and no others (the example trains seven and plans with the best
    five), and TS-infinity in place of TS1: what the speed comparisons measure."""
    cfg = settings(override)
    cfg.dynamics_model.ensemble_size = cfg.overrides.num_elites
    cfg.dynamics_model.propagation_method = "fixed_model"
    return cfg
