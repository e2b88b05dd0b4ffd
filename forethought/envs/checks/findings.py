"""What a check of an environment found: data, for the command line or a test to show."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str  # what was looked at
    level: Level  # ok; warn: may hurt learning; fail: will not work, or learns something wrong
    detail: str  # one line: what was seen
    remedy: str = ""  # one line: what to do about it


@dataclass(frozen=True)
class CheckReport:
    """All findings about an environment and the functions given with it."""

    env: str  # its name
    findings: tuple[Finding, ...]
    episodes: int  # episodes of random actions behind the findings
    steps: int  # real steps behind the findings

    @property
    def failed(self) -> bool:
        """Whether anything will not work."""
        return any(finding.level == "fail" for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """Of `forethought check`: 1 where anything will not work, else 0."""
        return int(self.failed)

    def named(self, name: str) -> tuple[Finding, ...]:
        """The findings about one thing."""
        return tuple(finding for finding in self.findings if finding.name == name)


def coordinates(indices: Iterable[int], limit: int = 6) -> str:
    """Coordinates of a state, for people: "coordinates 0, 3"."""
    chosen = list(indices)
    more = f" and {len(chosen) - limit} more" if len(chosen) > limit else ""
    return f"coordinate{'s' if len(chosen) > 1 else ''} {', '.join(map(str, chosen[:limit]))}{more}"
