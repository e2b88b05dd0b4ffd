"""The findings of a check of an environment, as data."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One finding of a check."""

    name: str  # subject
    level: Level  # ok; warn: may hinder learning; fail: training fails or learns something wrong
    detail: str  # observation, one line
    remedy: str = ""  # remedy, one line; empty if none is needed


@dataclass(frozen=True)
class CheckReport:
    """All findings about an environment and its cost and termination functions."""

    env: str  # name of the environment
    findings: tuple[Finding, ...]
    episodes: int  # number of episodes of random actions
    steps: int  # number of environment steps

    @property
    def failed(self) -> bool:
        """Whether there is a finding of level fail."""
        return any(finding.level == "fail" for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """Exit status of `forethought check`: 1 if a finding has level fail, else 0."""
        return int(self.failed)

    def named(self, name: str) -> tuple[Finding, ...]:
        """The findings with the given name."""
        return tuple(finding for finding in self.findings if finding.name == name)


def coordinates(indices: Iterable[int], limit: int = 6) -> str:
    """Coordinates of a state as text: "coordinates 0, 3"."""
    chosen = list(indices)
    more = f" and {len(chosen) - limit} more" if len(chosen) > limit else ""
    return f"coordinate{'s' if len(chosen) > 1 else ''} {', '.join(map(str, chosen[:limit]))}{more}"
