"""Text cannot become markup; numbers in words keep their value."""

import doctest
import html as python_html
import json
import math
from html.parser import HTMLParser

import hypothesis.strategies as st
import pytest
from hypothesis import given

import mnemoscope.report.words as words
from mnemoscope.report.html import element, escaped, island, shortened, visible


class Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text, self.attributes = "", []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_as_text_and_attribute(text: str) -> None:
    parser = Collector()
    parser.feed(element("p", text, title=text).markup)
    parser.close()
    assert parser.tags == ["p"]
    assert parser.text == visible(text)
    assert parser.attributes == [("title", visible(text))]


@given(st.text())
def test_nothing_that_acts_is_left(text: str) -> None:
    import unicodedata

    allowed = {"\t", "\n", "\u00ad", "\u200b", "\u200c", "\u200d"}
    left = [
        c
        for c in visible(text)
        if unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI")
    ]
    assert left == []
    assert all(c in allowed or unicodedata.category(c) != "Cc" for c in visible(text))


@given(
    st.recursive(st.text(alphabet=st.characters(exclude_categories=["Cs"])), lambda inner: st.lists(inner, max_size=3))
)
def test_islands_cannot_be_left_and_hold_their_value(value: object) -> None:
    markup = island("x", value).markup
    inside = markup[len('<script type="application/json" id="x">') : -len("</script>")]
    assert "<" not in inside
    assert ">" not in inside
    assert json.loads(inside) == value


def test_elements() -> None:
    assert element("td", "a", element("b", "<"), class_="x", data_y=2, hidden=True, lang=None).markup == (
        '<td class="x" data-y="2" hidden>a<b>&lt;</b></td>'
    )
    assert element("br").markup == "<br>"
    assert shortened("x" * 10, 4) == "xxxx… (+6 characters)"
    assert escaped("\u202ea") == "⟨U+202E⟩a"


def test_the_examples_in_words_are_true() -> None:
    assert doctest.testmod(words).failed == 0


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_numbers_keep_three_digits(value: float) -> None:
    text = words.number(value).replace("−", "-").replace(",", "")
    assert float(text) == pytest.approx(value, rel=0.0051, abs=0 if abs(value) > 1e-300 else 1e-300)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_columns_show_the_largest_with_three_digits(values: list[float]) -> None:
    largest = max(values, key=abs)
    if abs(largest) > 1e-5:
        text = words.fixed(largest, words.places(values)).replace("−", "-").replace(",", "")
        assert float(text) == pytest.approx(largest, rel=0.0051)


def test_undefined_is_a_dash() -> None:
    nan = math.nan
    assert {
        words.number(nan),
        words.p_value(nan),
        words.interval(nan, 1.0),
        words.fixed(nan, 2),
        words.count(None),
    } == {"–"}
    assert words.number(math.inf) == "∞"
    assert python_html.unescape(escaped("a'b\"c")) == "a'b\"c"
