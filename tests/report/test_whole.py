"""The page of all studies, from tables filled by their declarations: asks for nothing, is drawn, hostile text is inert."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HOSTILE = "</script><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def page(browser: Any, whole: Path) -> Iterator[Any]:
    """The page with every chart drawn; whatever it asks for but itself is refused and counted."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    tab = context.new_page()
    tab.requests, tab.problems = [], []
    tab.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
    tab.on("request", lambda request: tab.requests.append(request.url))
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.on("console", lambda message: message.type == "error" and tab.problems.append(message.text))
    tab.goto((whole / "report.html").as_uri())
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.wait_for_function("document.querySelectorAll('figure.chart:not([data-drawn])').length === 0", timeout=120_000)
    yield tab
    context.close()


def test_it_asks_for_nothing_and_everything_is_drawn(page: Any, whole: Path) -> None:
    assert page.requests == [(whole / "report.html").as_uri()]
    assert page.problems == []
    drawn = page.evaluate(
        "[...document.querySelectorAll('section.study')].map(s => [s.id, s.querySelectorAll('figure.chart svg').length])"
    )
    assert [name for name, _ in drawn] == ["heads", "emergence", "recall", "icl"]
    assert all(count >= 2 for _, count in drawn), drawn


def test_hostile_text_is_inert_everywhere(page: Any) -> None:
    assert page.title() == "handmade under the mnemoscope"
    assert page.locator("main img").count() == 0
    assert page.locator("main script:not([type='application/json'])").count() == 0
    for study in ("heads", "recall", "icl"):
        stage = page.locator(f"#{study} .tokens .stage").first
        stage.locator(".t").nth(5).wait_for()
        assert HOSTILE in stage.inner_text()
        assert "⟨U+202E⟩gnp.exe" in stage.inner_text()
    for study in ("heads", "emergence", "recall", "icl"):
        assert HOSTILE in page.locator(f"#{study} .headlines").inner_text()


def test_everything_that_acts_can_be_reached_by_keyboard(page: Any) -> None:
    unreachable = page.evaluate(
        """[...document.querySelectorAll('a, button, select, input, summary, .picks tbody tr, .stage')]
           .filter(e => e.tabIndex < 0 || (e.tagName === 'A' && !e.hasAttribute('href'))).map(e => e.outerHTML.slice(0, 90))"""
    )
    assert unreachable == []
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, select, summary')]
           .filter(e => !(e.textContent.trim() || e.ariaLabel || e.closest('label')?.textContent.trim())).length"""
    )
    assert unnamed == 0


def test_evidence_opens_from_the_claim(page: Any) -> None:
    link = page.locator("#claims a[href^='#recall-evidence-']").first
    fold = page.locator("#recall .evidence details").first
    assert fold.get_attribute("open") is None
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#recall .evidence details').open")
    assert fold.locator("tbody tr").count() >= 1
    rule = page.locator("#claims .behind summary").first
    rule.focus()
    page.keyboard.press("Enter")
    assert rule.inner_text().startswith("Rule: ")


def test_a_narrow_window_does_not_scroll_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 600, "height": 900})
    wide = page.evaluate(
        """[...document.querySelectorAll('main *')]
           .filter(e => !e.closest('.scroll, pre, .numbers, svg') && e.getBoundingClientRect().right > innerWidth + 1)
           .map(e => e.outerHTML.slice(0, 90))"""
    )
    page.set_viewport_size({"width": 1200, "height": 900})
    assert wide == []


def test_the_control_copy_has_one_spelling(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    assert '"copy":["re-initialised"' in page
    assert "reinitialised" not in page.lower()
