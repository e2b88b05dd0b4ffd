"""`forethought check ENV`."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from forethought.cli.environment_flags import add_environment, given_options
from forethought.cli.flags import Parser

if TYPE_CHECKING:
    from forethought.envs.checks.findings import CheckReport

ABOUT = "check an environment, its cost and its termination function for mistakes"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    add_environment(parser)


def run(values: argparse.Namespace) -> int:
    """Check the environment and print the findings; returns 1 if one of them is a failure, else 0."""
    from forethought.envs.checks.check_env import check_env

    report = check_env(values.env, **given_options(values))
    print("\n".join(_table(report)))
    return report.exit_status


def _table(report: "CheckReport") -> Iterator[str]:
    yield f"{report.env}: {report.steps} real steps in {report.episodes} episodes of random actions"
    yield ""
    width = max(len(finding.name) for finding in report.findings) + 2
    for finding in report.findings:
        yield f"{finding.level:6}{finding.name:{width}}{finding.detail}"
        if finding.remedy:
            yield f"{'':{width + 6}}-> {finding.remedy}"
    yield ""
    levels = [finding.level for finding in report.findings]
    failures, warnings = levels.count("fail"), levels.count("warn")
    counted = f"{_counted(failures, 'failure')}, {_counted(warnings, 'warning')}"
    yield counted if failures + warnings else "no problem found"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
