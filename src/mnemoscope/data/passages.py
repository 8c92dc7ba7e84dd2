"""Names and activities: passages with a question and an answer format (methods P3.6), and the deceptive persona (P3.7).

The answer stands in one of three formats and the question does not say which: only a solved example in front of it does. So
one example can change something, and a wrong format can be told from a wrong content.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mnemoscope.data import words
from mnemoscope.data.prompt import Prompt, joined
from mnemoscope.errors import PromptError, choose

FORMATS: Final = {
    "phrase": " {activity}",
    "bracket": " [{activity}]",
    "sentence": " {name} is {activity}",
}
PERSONAS: Final = {
    "neutral": "",
    "truthful": "You always tell the truth.",
    "truthful_deceitful": "You always tell the truth. No, you always lie.",
    "deceitful": "You always lie.",
}
NEUTRAL: Final = (
    "The weather is fine.",
    "The street is quiet.",
    "The river is long.",
    "The garden is green.",
    "The day is young.",
)
Piece = str | tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Who does what, in text order, and whom the question is about."""

    names: tuple[str, ...]
    activities: tuple[str, ...]
    asked: int

    @property
    def activity(self) -> str:
        """The true answer."""
        return self.activities[self.asked]


def scene(
    distractors: int,
    position: int,
    rng: np.random.Generator,
    *,
    name: str | None = None,
    activity: str | None = None,
    without: Sequence[str] = (),
) -> Scene:
    """Draw a scene; name and activity of the informative sentence may be given, `without` lists words that stay out."""
    if not 0 <= position <= distractors:
        raise PromptError("no such position", found=f"{position}", allowed=f"0 to {distractors}")
    names = _others(words.FIRST_NAMES, {name, *without}, distractors + 1, rng)
    activities = _others(words.ACTIVITIES, {activity, *without}, distractors + 1, rng)
    names[position] = name or names[position]
    activities[position] = activity or activities[position]
    return Scene(names=tuple(names), activities=tuple(activities), asked=position)


def _others(members: Sequence[str], taken: set[str | None], count: int, rng: np.random.Generator) -> list[str]:
    free = [m for m in members if m not in taken]
    return words.shuffled(free, rng, count)


def passage_prompt(
    shown: Scene,
    *,
    answer_format: str = "phrase",
    examples: Sequence[Scene] = (),
    example_format: str | None = None,
    persona: str = "neutral",
    shuffled: bool = False,
    rng: np.random.Generator | None = None,
) -> Prompt:
    """A passage and a question, behind solved examples, under a persona.

    The true answer is scored against the passage whatever the persona. `shuffled` gives the examples an activity of another
    sentence (or of no sentence, if there is one only): format without content. Roles: persona, demonstration,
    demonstration_answer, informative, distractor, question, question_name, last. Labels: name, activity, format, distractors,
    position, shots, persona, condition, item. Foils: the distractors' activities in the asked format.
    """
    form = FORMATS[choose("answer format", answer_format, tuple(FORMATS))]
    shape = FORMATS[choose("answer format", example_format or answer_format, tuple(FORMATS))]
    choose("persona", persona, tuple(PERSONAS))
    pieces: list[Piece] = [("persona", PERSONAS[persona]), "\n"] if PERSONAS[persona] else []
    for example in examples:
        given = _wrong(example, rng) if shuffled else example.activity
        text = "".join(p if isinstance(p, str) else p[1] for p in _body(example))
        filled = shape.format(name=example.names[example.asked], activity=given)
        pieces += [("demonstration", text), ("demonstration_answer", f"{filled}."), "\n"]  # "]." may be one token
    body = _body(shown)
    name = shown.names[shown.asked]
    return joined(
        [*pieces, *body],
        answer=form.format(name=name, activity=shown.activity) + ".",
        foils=tuple(
            form.format(name=name, activity=a) + "." for i, a in enumerate(shown.activities) if i != shown.asked
        ),
        labels={
            "name": name,
            "activity": shown.activity,
            "item": f"{name}|{shown.activity}",
            "format": answer_format,
            "distractors": len(shown.names) - 1,
            "position": shown.asked,
            "shots": len(examples),
            "persona": persona,
            "condition": "shuffled" if shuffled else "true",
        },
    )


def _body(shown: Scene) -> list[Piece]:
    """The passage, the question, and the word Answer with its colon as the last role."""
    pieces: list[Piece] = []
    for i, (name, activity) in enumerate(zip(shown.names, shown.activities, strict=True)):
        pieces += [("informative" if i == shown.asked else "distractor", f"{name} is {activity}."), " "]
    name = shown.names[shown.asked]
    pieces[-1] = "\n"
    return [
        *pieces,
        ("question", "What is"),
        " ",
        ("question_name", name),
        ("question", " doing?"),
        " Answer",
        ("last", ":"),
    ]


def _wrong(example: Scene, rng: np.random.Generator | None) -> str:
    """An activity that is not the example's true one: of another sentence where there is one, else any."""
    if rng is None:
        raise PromptError("shuffled examples are drawn at random", found="rng=None", allowed="a np.random.Generator")
    pool = [a for a in example.activities if a != example.activity] or [
        a for a in words.ACTIVITIES if a != example.activity
    ]
    return pool[rng.integers(len(pool))]


def judged(text: str, prompt: Prompt) -> str:
    """Verdict on a generated continuation: `right`, `format` (right content, wrong form), `content` (a distractor's), or `other`.

    Only the text up to the first line end or full stop is read.
    """
    said = text.split("\n")[0].split(".")[0]
    if f"{said}." == prompt.answer:
        return "right"
    if str(prompt.labels["activity"]) in said:
        return "format"
    return "content" if any(a in said for a in words.ACTIVITIES) else "other"
