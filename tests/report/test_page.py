"""The report page: complete, self-contained, and written whatever a run lacks."""

import base64
import re

import pytest

from forethought.core import UsageError
from forethought.report import write_report
from forethought.report.page import Page, Section, Table, inline_svg, render
from tests.report.fakes import FakeEnv, Linear, fake_run, oscillator, task


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a run with everything, and what was said while it was written."""
    said = []
    run = fake_run(tmp_path_factory.mktemp("run"))
    return write_report([run], episodes=4, on_stage=said.append).read_text(encoding="utf-8"), said


@pytest.fixture(scope="module")
def page(written):
    """The page alone."""
    return written[0]


def test_it_says_what_it_does(written):
    stages = ["new episodes", "new episodes, 4 of 4", "episodes of random actions", "errors of the model", "plans"]
    assert written[1] == [*stages, "video", "what limits learning"]


def outside(html: str) -> list[str]:
    """Addresses in the page that a browser would fetch."""
    found = re.findall(r"(?:src|href|action|data)=[\"']([^\"']*)", html) + re.findall(r"url\(([^)]*)\)", html)
    return [address for address in found if not address.startswith(("#", "data:"))]


def test_the_page_has_all_sections_and_numbers(page):
    for words in (
        "PETS on fake/Oscillator-v0",
        "episodes solved",
        "80%",
        "4 new episodes, seed 0",
        "return of random actions",
        "Learning curve",
        "Model error by horizon",
        "Calibration",
        "inside the 50% interval",
        "Plan against reality",
        "Possible problems",
        "planner.horizon",
        "abc123",
        "0.10.2",
        "seconds of experience",
    ):
        assert words in page, words


def test_page_is_self_contained_and_well_formed(page):
    assert outside(page) == []
    assert not re.search(r"<(script|link|iframe|object)\b", page)
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\s\"'<)]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', page)) <= set(identifiers)
    for tag in ("section", "figure", "svg", "table", "details", "video"):
        assert page.count(f"<{tag}") == page.count(f"</{tag}>"), tag


def test_page_contains_the_video(page):
    (content,) = re.findall(r'src="data:video/mp4;base64,([^"]+)"', page)
    assert base64.b64decode(content)[4:8] == b"ftyp"


def test_every_large_picture_is_explained(page):
    for figure in re.findall(r'<div class="pictures">(.*?)</div>', page, re.DOTALL):
        assert figure.count("<figure ") == figure.count("<figcaption>")


def test_a_run_without_learned_dynamics(tmp_path):
    run = fake_run(tmp_path, algorithm=object())
    text = write_report([run], episodes=2, video=False).read_text(encoding="utf-8")
    assert "no learned dynamics" in text and "<video" not in text and "Plan against reality" not in text


def test_an_environment_that_cannot_be_drawn_says_so(tmp_path):
    run = fake_run(tmp_path, algorithm=object())
    run.env.drawing_fails = "no display\nand more"
    text = write_report([run], episodes=2).read_text(encoding="utf-8")
    assert "No video: " in text and "no display" in text


def test_a_run_that_cannot_be_evaluated_shows_its_record(tmp_path):
    run = fake_run(tmp_path, evaluation_fails="the environment <b>is gone</b>")
    run.info.update(status="interrupted", reason="stopped by a signal")
    text = write_report([run], out=tmp_path / "other.html").read_text(encoding="utf-8")
    assert "the environment &lt;b&gt;is gone&lt;/b&gt;" in text
    assert "interrupted" in text and "stopped by a signal" in text and "Learning curve" in text


def test_a_missing_round_run_or_directory_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no finished round"):
        write_report([fake_run(tmp_path, rounds=0)])
    with pytest.raises(UsageError, match="at least one run"):
        write_report([])
    with pytest.raises(UsageError, match="no directory"):
        write_report([fake_run(tmp_path)], out=tmp_path / "nowhere" / "report.html")


def test_a_model_that_diverges_still_gives_a_page(tmp_path):
    exploding = Linear(1e20 * oscillator().A, oscillator().B, oscillator().offset, oscillator().std)
    run = fake_run(tmp_path, model=exploding, env=FakeEnv(oscillator(), task()))
    text = write_report([run], episodes=4, video=False).read_text(encoding="utf-8")
    assert "no change" in text


def test_text_is_escaped():
    page = Page(
        "<i>a</i>", "b", "done", sections=[Section("<s>", ["<p>"], ["<q>"], table=Table(("<h>",), (("<c>",),)))]
    )
    text = render(page)
    for word in ("<i>a</i>", "<s>", "<q>", "<h>", "<c>"):
        assert word not in text


def test_inline_svg_drops_declarations_and_uses_the_colors_of_the_page():
    svg = b'<?xml version="1.0"?><!DOCTYPE svg><svg width="4pt" height="3pt" viewBox="0 0 4 3"><metadata>\nx</metadata>'
    svg += b'<path id="a" style="fill: #1b1f27"/><use href="#a" clip-path="url(#a)"/></svg>'
    assert inline_svg(svg, prefix="p-") == (
        '<svg role="img" viewBox="0 0 4 3"><path id="p-a" style="fill: var(--ink)"/>'
        '<use href="#p-a" clip-path="url(#p-a)"/></svg>'
    )
