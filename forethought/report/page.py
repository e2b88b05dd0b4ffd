"""The parts of a page, and its rendering as one self-contained HTML file."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from forethought.report.plots import THEMED


@dataclass(frozen=True)
class Picture:
    """An SVG with a caption of one or two sentences, units included."""

    svg: bytes
    caption: str = ""
    size: Literal["small", "medium", "wide"] = "medium"  # several, two, or one side by side


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; cells are text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A titled part of the page; only what is given appears."""

    title: str
    text: Sequence[str] = ()  # paragraphs
    points: Sequence[str] = ()  # a list
    pictures: Sequence[Picture] = ()
    legend: Sequence[tuple[str, str]] = ()  # (CSS color, meaning), above the pictures
    table: Table | None = None
    video: bytes | None = None  # MP4
    folded: bool = False  # collapsed until it is opened
    half: bool = False  # beside another section if the screen is wide enough


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    subtitle: str
    status: str  # done | running | interrupted | failed
    remark: str = ""  # reason for the status
    figures: Sequence[tuple[str, str, str]] = ()  # the numbers that matter: (value, what it is, detail)
    sections: Sequence[Section] = field(default_factory=tuple)
    foot: str = ""


def render(page: Page) -> str:
    """The page as HTML; nothing in it points outside."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    count = iter(range(1_000_000))

    def drawing(svg: bytes) -> Any:
        return Markup(inline_svg(svg, prefix=f"p{next(count)}-"))  # noqa: S704 - our own drawing, its text escaped

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["drawing"] = drawing
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    source = resources.files("forethought.report").joinpath("template.html").read_text(encoding="utf-8")
    return environment.from_string(source).render(page=page)


def inline_svg(svg: bytes, *, prefix: str) -> str:
    """An SVG file as an element of a page: identifiers made unique, colors taken from the page, no declarations."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', lambda found: found.group(1) + prefix, text)
    text = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", text, count=1)
    text = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", text, count=1)
    for color, variable in THEMED.items():
        text = text.replace(color, f"var({variable})")
    return text.replace("<svg", '<svg role="img"', 1)
