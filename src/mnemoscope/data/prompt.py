"""The first noun: a prompt is text with character spans by role. Tokens come later, in `model/batch.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mnemoscope.errors import PromptError, listed

Label = str | int | float | bool
Span = tuple[int, int]  # half-open character range [start, stop) of the prompt's text


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A text to be read by a model, the roles its parts play, and what should come next.

    spans    role -> character ranges of `text`, in text order; a role may have several ranges, or none
    answer   the continuation as it would stand behind the text, its leading space included; "" if there is none
    foils    continuations that the answer is compared with
    labels   design variables (relation, topic, template, item, condition ...): units of independence and of grouping
    """

    text: str
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict[str, tuple[Span, ...]])
    answer: str = ""
    foils: tuple[str, ...] = ()
    labels: Mapping[str, Label] = field(default_factory=dict[str, Label])

    def __post_init__(self) -> None:
        if not self.text:
            raise PromptError("a prompt is empty", allowed="at least one character", hint="give a text to read")
        bad = [
            f"{role!r} [{a}, {b})"
            for role, ranges in self.spans.items()
            for a, b in ranges
            if not 0 <= a < b <= len(self.text)
        ]
        if bad:
            raise PromptError(
                f"{len(bad)} spans lie outside the prompt {self.text[:40]!r}",
                found=listed(bad),
                allowed=f"0 <= start < stop <= {len(self.text)}",
            )

    def part(self, role: str) -> tuple[str, ...]:
        """The words of one role, one string per range."""
        return tuple(self.text[a:b] for a, b in self.spans.get(role, ()))


def filled(template: str, slots: Mapping[str, str], **fields: object) -> Prompt:
    """Fill `{name}` slots of a template and remember where each went: slot names become roles.

    >>> filled("The capital of {topic} is", {"topic": "France"}).part("topic")
    ('France',)
    """
    text, rest = "", template
    spans: dict[str, list[Span]] = {}
    while rest:
        before, brace, behind = rest.partition("{")
        text += before
        if not brace:
            break
        name, closing, rest = behind.partition("}")
        if not closing or name not in slots:
            raise PromptError(
                f"template {template!r} has a slot that cannot be filled",
                found=f"{{{name}",
                allowed="slots " + ", ".join(sorted(slots)),
            )
        spans.setdefault(name, []).append((len(text), len(text) + len(slots[name])))
        text += slots[name]
    return Prompt(text=text, spans={k: tuple(v) for k, v in spans.items()}, **fields)  # type: ignore[arg-type]


def joined(pieces: Sequence[str | tuple[str, str]], **fields: object) -> Prompt:
    """Join plain strings and (role, string) pieces into one prompt, remembering the spans.

    >>> joined(["The capital of ", ("topic", "France"), " is"]).part("topic")
    ('France',)
    """
    text = ""
    spans: dict[str, list[Span]] = {}
    for piece in pieces:
        role, words = ("", piece) if isinstance(piece, str) else piece
        if role and words:
            spans.setdefault(role, []).append((len(text), len(text) + len(words)))
        text += words
    return Prompt(text=text, spans={k: tuple(v) for k, v in spans.items()}, **fields)  # type: ignore[arg-type]
