"""What mbrl 0.2.0 needs to run beside today's gymnasium, hydra-core and omegaconf.

Its pins (gymnasium 0.26.3, hydra-core 1.0.3, omegaconf < 2.1) do not resolve any more, so it runs with newer ones.
Nothing here changes what it computes.

1. Gymnasium's wrappers call `reset(seed=..., options=...)`; `CartPoleEnv.reset` has no `options`: TypeError.
2. hydra-core 1.0 instantiated only the outermost settings; since 1.1 nested ones are instantiated first.  `GaussianMLP`
   expects the settings of its activation (it makes one for each layer) and gets a module: ValidationError.
3. The same for the optimizer inside the agent's settings, whose bounds `TrajectoryOptimizer` fills in just before it
   instantiates them itself: MissingMandatoryValue.  `_recursive_=False`, the old behavior, cures 2 and 3.
"""

import functools

import hydra.utils
from mbrl.env.cartpole_continuous import CartPoleEnv


def apply() -> None:
    """Patch mbrl and hydra in this process; call it once, before anything is built."""
    hydra.utils.instantiate = functools.partial(hydra.utils.instantiate, _recursive_=False)
    CartPoleEnv.reset = _accept_options(CartPoleEnv.reset)


def _accept_options(reset):
    @functools.wraps(reset)
    def patched(self, *, seed=None, options=None):
        del options
        return reset(self, seed=seed)

    return patched
