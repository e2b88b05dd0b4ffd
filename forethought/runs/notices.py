"""What a user is told about an environment before training."""

import jax.random as jr

from forethought.core import EnvironmentFailure
from forethought.envs.env import Env
from forethought.envs.environment import Environment, opening_notes
from forethought.envs.functions import can_be_loaded, is_script, name_of
from forethought.envs.gym_env import GymEnv
from forethought.envs.repeatability import carries_state
from forethought.runs.run import INIT


def notices(environment: Environment, env: Env, *, seed: int) -> tuple[str, ...]:
    """Notices about `environment`, which was opened as `env`, for a training with `seed`."""
    return (*opening_notes(environment, env), *_functions(environment), *_memory(env, seed))


def _functions(environment: Environment) -> tuple[str, ...]:
    """Notices about functions of the user that loading the run will not find, or will find only by running a script."""
    found = []
    for kind in ("cost", "termination", "physics", "constraint"):
        function = getattr(environment, kind)
        if not can_be_loaded(function):
            how = f"ft.load(path, {kind}=...)"
            found.append(f"the {kind} function cannot be found by name again: load the run with {how}.")
        elif is_script((name_of(function) or "").partition(":")[0]):
            guard = 'run the script only under `if __name__ == "__main__":`, or move the function to another module'
            found.append(f"the {kind} function is recorded as '{name_of(function)}', so that loading the run imports "
                         f"the script: {guard}.")  # fmt: skip
    return tuple(found)


def _memory(env: Env, seed: int) -> tuple[str, ...]:
    """A note if the environment keeps state across resets; shipped systems keep none."""
    if not isinstance(env, GymEnv) or env.nondeterministic:
        return ()
    try:
        difference = carries_state(env, key=jr.fold_in(jr.key(seed), INIT))
    except EnvironmentFailure:  # training will fail in the same way and keep the earlier steps
        return ()
    if difference is None:
        return ()
    return (
        f"{env.name} keeps state from one episode to the next ({difference}), so an interrupted run that is "
        "resumed will not be bitwise identical to one that was not interrupted.",
    )
