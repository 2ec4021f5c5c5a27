"""report.html in a real browser: it runs without errors, plays, sorts, zooms, and is accessible."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe

from cloudburst import language
from cloudburst.report import beside, json
from tests.support import pages
from tests.support.browser import chromium, shown, until, video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

# One browser for all: it takes seconds to start.
pytestmark = pytest.mark.xdist_group("browser")

Scheme = Literal["light", "dark"]
# Each scheme and each width once; the other pairs are tried by `make test-all`.
LOOKS = [
    ("light", 1600),
    ("dark", 380),
    pytest.param("light", 380, marks=pytest.mark.slow),
    pytest.param("dark", 1600, marks=pytest.mark.slow),
]
EVIL = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\"'"
BIDI = "\u202e\u2067txt.exe"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run in which all that can happen has happened, with its videos."""
    folder = tmp_path_factory.mktemp("troubled")
    for name in ("intro", "brook", "sunset"):
        video(folder / f"{name}.mp4")
    report, state = pages.troubled(folder)
    json.write(report)
    assert beside.write(report, lambda: state) == ()
    return folder / beside.PAGE


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    report, state = pages.many(folder)
    assert beside.write(report, lambda: state) == ()
    return folder / beside.PAGE


def names(page: Page) -> list[str]:
    """Return the scenes that are shown, in order."""
    rows = page.locator("#table tbody tr:not([hidden]) > th")
    return [text.strip() for text in rows.all_text_contents()]


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_it_has_no_errors_asks_for_nothing_and_fits(
    browser: Browser, troubled: Path, scheme: Scheme, width: int
) -> None:
    with shown(browser, troubled, scheme=scheme, width=width) as there:
        assert there.page.evaluate("document.documentElement.scrollWidth") == width
        there.page.wait_for_timeout(100)
        assert there.problems == []
        wanted = [url for url in there.requests if not url.startswith("data:")]
        assert wanted == [troubled.as_uri()], "videos are asked for when they are played"


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_axe_finds_nothing(browser: Browser, troubled: Path, scheme: Scheme, width: int) -> None:
    with shown(browser, troubled, scheme=scheme, width=width) as there:
        found = Axe().run(there.page)
        assert found.violations_count == 0, found.generate_report()
        there.page.locator("a.play").first.click()
        found = Axe().run(there.page)
        assert found.violations_count == 0, found.generate_report()


def test_axe_finds_nothing_in_chinese(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(language.VARIABLE, "zh")
    language.language.cache_clear()
    try:
        report, state = pages.troubled(tmp_path)
        assert beside.write(report, lambda: state) == ()
    finally:
        monkeypatch.undo()
        language.language.cache_clear()
    with shown(browser, tmp_path / beside.PAGE) as there:
        assert there.page.locator("html").get_attribute("lang") == "zh-Hans"
        assert there.page.locator("#scenes").text_content() == "场景"
        found = Axe().run(there.page)
        assert found.violations_count == 0, found.generate_report()


def test_a_video_plays_and_the_keyboard_comes_back(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled) as there:
        page = there.page
        link = page.get_by_role("link", name="Play intro")
        link.focus()
        page.keyboard.press("Enter")
        until(page, "document.querySelector('video').currentTime > 0.2")
        assert page.get_by_role("dialog", name="intro").is_visible()
        assert page.evaluate("document.querySelector('video').videoWidth") == 320
        page.keyboard.press("Escape")
        assert not page.get_by_role("dialog").is_visible()
        assert page.evaluate("document.querySelector('video').paused")
        assert link.evaluate("one => one === document.activeElement")
        assert there.problems == []


def test_a_video_that_is_not_there_is_told(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled) as there:
        there.page.get_by_role("link", name="Play dogs").click()
        alert = there.page.get_by_role("alert")
        alert.wait_for()
        assert "dogs.mp4 is not beside this page" in (alert.text_content() or "")


def test_pictures_are_of_the_videos(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled) as there:
        page = there.page
        pictures = page.locator("a.play img")
        assert pictures.count() == 3, "one video of four is not there"
        pictures.first.scroll_into_view_if_needed()
        until(page, "document.querySelector('a.play img').naturalWidth === 256")
        assert pictures.first.evaluate("one => [one.naturalWidth, one.naturalHeight]") == [256, 144]


def test_scenes_are_sorted_and_found(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled) as there:
        page = there.page
        assert names(page) == ["intro", "brook", "dogs", "sunset", "broken", "late"]
        page.get_by_role("button", name="scene", exact=True).click()
        assert names(page) == ["broken", "brook", "dogs", "intro", "late", "sunset"]
        status = page.get_by_role("columnheader", name="status")
        status.get_by_role("button").click()
        assert names(page)[:2] == ["broken", "late"]
        assert status.get_attribute("aria-sort") == "ascending"
        usd = page.locator("#table").get_by_role("button", name="USD")
        usd.click()
        usd.click()
        # Being rendered until the run was stopped; rendered twice.
        assert names(page)[:2] == ["late", "dogs"]
        assert page.locator("#shown").text_content() == "6 of 6 scenes shown · Sorted by USD"
        page.get_by_label("Find a scene").fill("BRO")
        assert sorted(names(page)) == ["broken", "brook"]
        page.get_by_label("status").select_option("failed")
        assert names(page) == ["broken"]


def test_a_reason_leads_to_its_scene_whatever_is_filtered(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled) as there:
        page = there.page
        page.get_by_label("Find a scene").fill("intro")
        page.locator("#failures + .alert a").click()
        row = page.locator("tr", has_text="not a picture")
        assert row.is_visible()
        assert row.evaluate("one => one === document.activeElement")


def test_the_timeline_zooms_and_says_what_is_pointed_at(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled) as there:
        page = there.page
        plot, tip = page.locator("#plot"), page.locator("#tip")
        before = plot.evaluate("one => one.clientWidth")
        marks = page.locator("#ticks text").count()
        page.get_by_role("button", name="Zoom in").click()
        page.get_by_role("button", name="Zoom in").click()
        assert plot.evaluate("one => one.clientWidth") == pytest.approx(before * 2.56, abs=2)
        assert page.locator("#ticks text").count() > marks
        page.locator("#time").focus()
        page.keyboard.press("0")
        assert plot.evaluate("one => one.clientWidth") == before
        page.locator('#plot [data-tip^="intro on b01"]').hover()
        assert tip.text_content() == "intro on b01: rendered in 6.0 s"
        assert tip.is_visible()
        page.locator('#plot [data-tip^="intro on b01"]').click()
        assert page.locator("tr:focus th").text_content() == "intro"
        page.locator(".mark").nth(1).hover()
        assert (tip.text_content() or "").startswith("b02: the spot machine was reclaimed")


def test_what_the_keyboard_reaches_is_in_reading_order_and_seen(
    browser: Browser, troubled: Path
) -> None:
    with shown(browser, troubled) as there:
        page = there.page
        order: list[str] = []
        for _ in range(80):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                """() => {
                const one = document.activeElement, box = one.getBoundingClientRect();
                const visible = box.width > 0 && box.right > 0 && box.bottom > 0
                  && box.top < innerHeight && getComputedStyle(one).outlineStyle !== 'none';
                const place = [...document.querySelectorAll('*')].indexOf(one);
                return [one.tagName, place, visible, one.textContent.trim().slice(0, 40)];
                }"""
            )
            if seen[0] == "BODY":
                break
            assert seen[2], f"{seen} has the focus and is not seen"
            order.append(seen)
        assert order[0][3] == "Skip to the scenes"
        places = [one[1] for one in order]
        assert places == sorted(places)
        assert len(set(places)) == len(places)
        buttons = [one[3] for one in order if one[0] == "BUTTON"]
        assert buttons[:5] == ["−", "Fit", "+", "scene", "status"]  # noqa: RUF001
        assert sum(one[0] == "A" for one in order) >= 1 + 8 + 1 + 4 + 4


def test_skipping_leads_to_the_scenes(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled) as there:
        there.page.keyboard.press("Tab")
        there.page.keyboard.press("Enter")
        assert there.page.evaluate("location.hash") == "#scenes"
        assert there.page.evaluate("scrollY") > 500


def test_the_contents_lead_to_their_headings(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled, width=380) as there:
        page = there.page
        for link in page.locator("nav a").all():
            link.click()
            page.wait_for_timeout(150)
            heading = page.locator(f"h2{link.get_attribute('href')}").bounding_box()
            assert heading is not None
            assert 0 <= heading["y"] < 900, f"{link.text_content()} is out of view"
            page.evaluate("scrollTo(0, 0)")


def test_without_scripts_everything_can_be_read(browser: Browser, troubled: Path) -> None:
    with shown(browser, troubled, scripts=False) as there:
        assert there.page.get_by_role("link", name="Play intro").is_visible()
        assert there.page.locator("#find").is_hidden()
        assert there.page.locator("#plot .b").count() > 15
        assert there.page.get_by_text("not a picture").first.is_visible()


@pytest.mark.slow
def test_paper_has_all_of_it(browser: Browser, tmp_path: Path) -> None:
    report, state = pages.many(tmp_path, 201, 40)
    assert beside.write(report, lambda: state) == ()
    # As wide as A4 across is between its margins.
    with shown(browser, tmp_path / beside.PAGE, width=1040) as there:
        page = there.page
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth") == 1040
        assert page.locator("nav").is_hidden()
        assert page.locator("#find").is_hidden()
        for name in ("#time", ".scroll.tall"):
            cut = page.locator(name).evaluate("one => one.scrollHeight > one.clientHeight + 1")
            assert not cut, f"{name} is cut off"
        assert len(page.pdf(format="A4", print_background=False)) > 10_000


def test_nothing_of_a_run_is_executed(browser: Browser, tmp_path: Path) -> None:
    report, state = pages.troubled(tmp_path)
    scenes = tuple(
        replace(
            one,
            name=f"{EVIL}{BIDI}{one.name}",
            error=one.error and f"{EVIL * 50}{'x' * 5000}",
            warnings=(EVIL, "{{ 7 * 7 }} ${7*7}"),
        )
        for one in report.scenes
    )
    first = report.batches[0].launches[0]
    launch = replace(first, error=EVIL, code=EVIL, worker=f"{EVIL}{'w' * 3000}", label=EVIL)
    batches = (replace(report.batches[0], label=EVIL, launches=(launch,)), *report.batches[1:])
    evil = replace(report, job=EVIL + BIDI, scenes=scenes, batches=batches, error=EVIL)
    assert beside.write(evil, lambda: state) == ()
    for width in (1600, 380):
        with shown(browser, tmp_path / beside.PAGE, width=width) as there:
            page = there.page
            page.locator("#plot .mark").first.hover()
            page.get_by_role("button", name="scene", exact=True).click()
            page.get_by_label("Find a scene").fill("<script>")
            assert page.evaluate("window.hacked") is None
            assert page.evaluate("document.scripts.length") == 1
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert there.problems == []
            assert page.title().startswith("</script><script>")
            heading = page.locator("h1")
            assert "\u202e" in (heading.text_content() or "")
            # What comes after a name is in its own direction.
            assert heading.evaluate("one => getComputedStyle(one).direction") == "ltr"
            assert all(
                row.evaluate("one => one.querySelector('bdi') !== null")
                for row in page.locator("#table tbody th").all()
            )


@pytest.mark.slow
def test_a_thousand_scenes_are_searched_and_sorted(browser: Browser, many: Path) -> None:
    assert many.stat().st_size < 5_000_000
    with shown(browser, many) as there:
        page = there.page
        page.get_by_label("status").select_option("failed")
        assert len(names(page)) == 20
        page.get_by_label("status").select_option("")
        page.get_by_role("button", name="scene", exact=True).click()
        page.get_by_role("button", name="scene", exact=True).click()
        assert names(page)[:2] == ["scene-1000", "scene-0999"]
        assert page.locator("#plot > svg > g").count() == 101
        assert there.problems == []
