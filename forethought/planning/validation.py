"""Settings checks used by several planners."""

from typing import Any, get_args

from forethought.planning.particles import Propagation


def check_sampling(settings: Any, at_least_one: tuple[str, ...]) -> None:
    """Raise `ValueError` for invalid settings of a sampling planner; the message says how to correct them."""
    name = type(settings).__name__
    for field in at_least_one:
        if getattr(settings, field) < 1:
            raise ValueError(f"{name}.{field} must be at least 1, got {getattr(settings, field)}.")
    if settings.propagation not in get_args(Propagation):
        known = ", ".join(get_args(Propagation))
        raise ValueError(f"{name}.propagation must be one of {known}; got '{settings.propagation}'.")


def check_elites(settings: Any) -> None:
    """Raise ValueError if there are more elites than sequences."""
    if settings.elites > settings.population:
        raise ValueError(
            f"{type(settings).__name__}.elites ({settings.elites}) exceeds its population "
            f"({settings.population}); use at most {max(1, settings.population // 2)}."
        )
