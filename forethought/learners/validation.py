"""Ranges of the settings that learners share."""

from typing import Any


def require_rates(settings: Any) -> None:
    """Raise `ValueError` for a learning rate, discount, trace or layer out of range."""
    name = type(settings).__name__
    for rate in ("learning_rate", "value_learning_rate", "max_gradient_norm"):
        if hasattr(settings, rate) and not 0 < getattr(settings, rate) < float("inf"):
            raise ValueError(f"{name}.{rate} must be positive, got {getattr(settings, rate)}.")
    for share in ("discount", "trace"):
        if hasattr(settings, share) and not 0 <= getattr(settings, share) <= 1:
            raise ValueError(f"{name}.{share} must be between 0 and 1, got {getattr(settings, share)}.")
    if any(units < 1 for units in settings.hidden):
        raise ValueError(f"{name}.hidden must be numbers of units, at least 1 each, got {settings.hidden}.")
