"""Results of checking an environment, as values that the command line or a test can show."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str  # what was checked
    level: Level  # ok; warn: may impair learning; fail: does not work, or learns the wrong thing
    detail: str  # one line: what was observed
    remedy: str = ""  # one line: what to do about it


@dataclass(frozen=True)
class CheckReport:
    """All findings about an environment and the functions given with it."""

    env: str  # its name
    findings: tuple[Finding, ...]
    episodes: int  # episodes of random actions behind the findings
    steps: int  # environment steps behind the findings

    @property
    def failed(self) -> bool:
        """Whether a check failed."""
        return any(finding.level == "fail" for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """Exit status of `forethought check`: 1 if a check failed, else 0."""
        return int(self.failed)

    def named(self, name: str) -> tuple[Finding, ...]:
        """The findings of one check."""
        return tuple(finding for finding in self.findings if finding.name == name)


def coordinates(indices: Iterable[int], limit: int = 6) -> str:
    """Coordinates of a state as text: "coordinates 0, 3"."""
    chosen = list(indices)
    more = f" and {len(chosen) - limit} more" if len(chosen) > limit else ""
    return f"coordinate{'s' if len(chosen) > 1 else ''} {', '.join(map(str, chosen[:limit]))}{more}"
