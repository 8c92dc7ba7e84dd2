"""Elements whose text cannot become markup, whatever it says.

Only `Safe` values enter the page unescaped, and only `element`, `joined` and our own assets make them. Characters that
would act instead of being shown (control characters, right-to-left overrides) are replaced by their visible names.
"""

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_VOID = ("br", "col", "hr", "img", "input", "meta")


@dataclass(frozen=True)
class Safe:
    """A piece of HTML that may stand in the page as it is."""

    markup: str


Child = str | Safe


def element(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Safe:
    """One element. Text children and attribute values are escaped; `class_` is class, `data_x` is data-x; None is absent.

    Whole numbers and words only: a number with decimals is written by whoever knows how many.
    """
    head = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Safe(f"<{head}>")
    return Safe(f"<{head}>{joined(children).markup}</{name}>")


def joined(children: Iterable[Child]) -> Safe:
    """Children one after the other, text escaped."""
    return Safe("".join(child.markup if isinstance(child, Safe) else escaped(child) for child in children))


def escaped(text: str) -> str:
    """Text as HTML that shows it."""
    return html.escape(visible(text), quote=True)


def visible(text: str) -> str:
    """Replace characters that act (controls, direction overrides, line separators) by their names, as ⟨U+202E⟩."""
    return _ACTING.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def shortened(text: str, most: int = 240) -> str:
    """The first `most` characters, and how many are left out."""
    return text if len(text) <= most else f"{text[:most]}… (+{len(text) - most:,} characters)"


def island(identifier: str, value: object) -> Safe:
    """A JSON value for the page's scripts. No character in it can end the element or start another one."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Safe(f'<script type="application/json" id="{escaped(identifier)}">{text}</script>')


def _attribute(key: str, value: str | int | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escaped(str(value))}"'
