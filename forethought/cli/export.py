"""`forethought export RUN --out DIR`."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from forethought.cli.flags import Parser

if TYPE_CHECKING:
    from forethought.export.exporting import Export

ABOUT = "write a trained controller as files that run without Forethought"
AFTER = """\
Forms: stablehlo (any controller, for JAX), onnx and numpy (policies). Each form is compared with the controller on
recorded and random observations; the export fails if actions differ by more than 1e-5 of their range. An observation
that is not finite yields the fallback action. DIR/manifest.json lists shapes, units, limits, digests and latency.
"""


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.epilog = AFTER
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--out", metavar="DIR", help="new directory for the export (default: export in the run)")
    parser.add_argument(
        "--forms",
        nargs="+",
        choices=("stablehlo", "onnx", "numpy"),
        default=("stablehlo", "onnx", "numpy"),
        help="forms to write (default: all that the controller has)",
    )
    parser.add_argument(
        "--fallback",
        nargs="+",
        type=float,
        metavar="U",
        help="action for observations that are not finite (default: the middle of the limits, or choice 0)",
    )
    parser.add_argument(
        "--platforms",
        nargs="+",
        default=("cpu",),
        metavar="NAME",
        help="processors of the StableHLO programs: cpu, cuda, rocm, tpu (default: cpu)",
    )
    parser.add_argument(
        "--latency-steps",
        type=int,
        default=500,
        metavar="N",
        help="steps whose time is measured (default: 500; 0: none)",
    )


def run(values: argparse.Namespace) -> int:
    """Export and print what was measured."""
    from pathlib import Path

    from forethought.export.exporting import export_run
    from forethought.runs.run import load

    loaded = load(values.run)
    fallback = values.fallback
    if fallback is not None and not loaded.env.task.action_space.example().shape:
        fallback = fallback[0]
    made = export_run(
        loaded,
        values.out or Path(values.run) / "export",
        forms=values.forms,
        fallback=fallback,
        platforms=values.platforms,
        latency_steps=values.latency_steps,
    )
    print("\n".join(_table(made)))
    print(f"export: {made.path}")
    return 0


def _table(made: "Export") -> Iterator[str]:
    names = ("form", "difference", "p50 ms", "p95 ms", "p99 ms", "longest ms")
    yield f"{names[0]:10}" + "".join(f"{name:>12}" for name in names[1:])
    for form, (parity, latency) in made.forms.items():
        times = [] if latency is None else [latency.p50, latency.p95, latency.p99, latency.longest]
        yield f"{form:10}{parity.largest:12.2g}" + "".join(f"{1e3 * one:12.3g}" for one in times)
    for form, reason in made.left_out.items():
        yield f"{form:10}not written: {reason}"
