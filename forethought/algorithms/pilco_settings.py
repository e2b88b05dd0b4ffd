"""Settings of PILCO by area: policy, trials, objective, search and horizon."""

from typing import Any, Literal

from forethought.core.settings import settings


@settings
class PolicySettings:
    """The policy's function of the features, before its output is squashed into the action limits."""

    kind: Literal["rbf", "linear"] = "rbf"  # radial basis functions, or linear (enough to balance, not to swing up)
    basis_functions: int = 30  # radial basis functions in the policy

    def __post_init__(self):
        """Refuse settings that cannot work."""
        _require_at_least(1, self, "policy", "basis_functions")
        if self.kind not in ("rbf", "linear"):
            raise ValueError(f"policy.kind is rbf or linear, got {self.kind}.")


@settings
class TrialSettings:
    """Trials: the episodes of experience."""

    random_episodes: int = 1  # episodes of uniformly random actions before the first policy
    random_hold: int = 1  # steps for which each random action is held
    steps: int | None = None  # steps per trial, at most; none: five eighths of the task's horizon

    def __post_init__(self):
        """Refuse settings that cannot work."""
        _require_at_least(1, self, "trials", "random_episodes", "random_hold", "steps")


@settings
class ObjectiveSettings:
    """The expected cost that the search minimizes."""

    skip_first: int = 0  # steps at the beginning of an episode whose cost is not counted
    cost_smoothing: float = 0.25  # standard deviation added to what the cost measures (its unit), during screening only
    initial_components: int = 1  # Gaussians that represent the distribution of initial states
    initial_std_scale: float = 1.5  # factor on the standard deviations of the initial states
    exploration: float = 0.0  # standard deviations of the cost to subtract, as a bonus for uncertain outcomes
    sensor_noise: bool = True  # true: the model's noise is measurement noise; false: it moves the state

    def __post_init__(self):
        """Refuse settings that cannot work."""
        _require_at_least(1, self, "objective", "initial_components")
        _require_at_least(0, self, "objective", "skip_first", "cost_smoothing")
        if not self.initial_std_scale > 0:
            raise ValueError(f"objective.initial_std_scale must be positive, got {self.initial_std_scale}.")


@settings
class SearchSettings:
    """The policy search: every candidate is screened, the finalists are optimized further."""

    restarts: int = 3  # new random policies among the candidates, until a trial is solved
    recentered: int = 0  # copies of the last policy with basis functions moved to its predicted states, also candidates
    screening: int = 80  # evaluations of the expected cost per candidate; none are spent on a single candidate
    finalists: int = 2  # candidates that are optimized further
    evaluations: int = 200  # evaluations of the expected cost per finalist
    min_improvement: float = 0.0  # share of a solved trial's cost by which a new policy must be predicted to be better

    def __post_init__(self):
        """Refuse settings that cannot work."""
        _require_at_least(1, self, "search", "screening", "finalists", "evaluations")
        _require_at_least(0, self, "search", "restarts", "recentered", "min_improvement")


@settings
class HorizonSettings:
    """The prediction horizon of the search, which may grow from round to round."""

    initial: int | None = None  # steps predicted at first; none: the task's horizon
    growth: float = 1.5  # factor on initial, trials.steps and objective.skip_first, once the end costs little
    warmup_fraction: float = 0.6  # share of the predicted steps whose cost counts in the first search
    warmup_rounds: int = 3  # searches until the cost of all predicted steps counts

    def __post_init__(self):
        """Refuse settings that cannot work."""
        _require_at_least(1, self, "horizon", "initial", "growth")
        _require_at_least(0, self, "horizon", "warmup_rounds")
        if not 0 < self.warmup_fraction <= 1:
            raise ValueError(f"horizon.warmup_fraction must be in (0, 1], got {self.warmup_fraction}.")


def _require_at_least(least: int, settings: Any, area: str, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value >= least:
            raise ValueError(f"{area}.{name} must be at least {least}, got {value}.")
