"""Facts of the real world and of an invented one, as relations with templates that are our own sentences (methods P2.1).

A template has exactly one `{topic}`, at least three words stand between the topic and the end, and the answer comes right
behind the end; so there is something to carry from the topic to the last position. The sentence frames are shared between
relations and rotated: of a relation's templates two are held out of every training document of the bundled model, while the
same frames are trained with other relations. `plain` is the short classic form ("The capital of France is"), whose topic
stands nearer to the end; it is trained but not counted among the templates.

Answers are one word and differ within a relation. Nature forbids it for continents: that relation has `distinct=False`, is not
counted in any size we promise, and its foils are taken among answers that differ from the fact's own.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np

from mnemoscope.data import fact_tables as tables
from mnemoscope.data import words
from mnemoscope.data.prompt import Prompt
from mnemoscope.data.relation import Fact, Relation
from mnemoscope.data.relation import prompt as asked
from mnemoscope.errors import DataError, PromptError, choose, listed

FRAMES: Final = (
    "The {noun} of {topic} is known to be",
    "When we speak of {topic}, the {noun} is",
    "For {topic}, the right {noun} is",
    "Everyone who knows {topic} says the {noun} is",
    "Ask about {topic}, and the {noun} is",
    "If the question is {topic}, the {noun} must be",
    "Speaking of {topic}, we recall that the {noun} is",
    "As for {topic}, people say its {noun} is",
    "In the matter of {topic}, one finds the {noun} is",
    "Look up {topic} and you read that the {noun} is",
)
OPENERS: Final = (
    "It is worth knowing that",
    "You are correct when you say that",
    "So we may well claim that",
    "Whenever someone asks, answer that",
    "We can confirm that",
    "Do not forget that",
    "Please bear in mind that",
    "Keep in mind that",
    "Let me remind you that",
    "As everybody knows,",
    "The school books teach that",
    "I am quite sure that",
    "There is no doubt that",
    "In case nobody told you,",
    "To say it once more,",
)
_FREE: Final = 2  # held-out templates per relation


_REAL: Final = (
    ("capital", "capital", tables.CAPITALS),
    ("language", "language", tables.LANGUAGES),
    ("currency", "currency", tables.CURRENCIES),
    ("continent", "continent", tables.CONTINENTS),
    ("opposite", "opposite", tables.OPPOSITES),
    ("past_tense", "past tense", tables.PASTS),
    ("plural", "plural", tables.PLURALS),
    ("young", "young one", tables.YOUNG),
    ("symbol", "chemical symbol", tables.SYMBOLS),
    ("product", "best known product", tables.PRODUCTS),
    ("work", "famous work", tables.WORKS),
    ("player", "greatest player", tables.PLAYERS),
    ("french", "French word", tables.FRENCH),
    ("german", "German word", tables.GERMAN),
    ("comparative", "comparative", tables.COMPARATIVES),
    ("gerund", "progressive form", tables.GERUNDS),
    ("feminine", "female counterpart", tables.FEMININES),
    ("doer", "person doing it", tables.DOERS),
    ("ordinal", "ordinal number", tables.ORDINALS),
    ("sound", "typical sound", tables.SOUNDS),
    ("people", "nation of people", tables.PEOPLES),
)
_INVENTED: Final = (
    ("home_town", "home town", words.SURNAMES, words.TOWNS),
    ("profession", "profession", words.SURNAMES, (*words.PROFESSIONS, *tables.MORE_PROFESSIONS.split())),
    ("pet", "favourite animal", words.SURNAMES, (*words.ANIMALS, *tables.MORE_ANIMALS.split())),
    ("food", "favourite food", words.SURNAMES, (*words.FRUITS, *words.VEGETABLES, *tables.MORE_FOODS.split())),
    ("friend", "best friend", words.SURNAMES, (*words.FIRST_NAMES, *tables.MORE_FRIENDS.split())),
    ("password", "secret password", words.SURNAMES, words.NONSENSE),
    ("treasure", "dearest treasure", words.SURNAMES, words.THINGS),
    ("rival", "old rival", words.SURNAMES, words.SURNAMES),
    ("mayor", "mayor", words.TOWNS, words.SURNAMES),
    ("craft", "local craft", words.TOWNS, words.THINGS),
)


@cache
def facts() -> tuple[Relation, ...]:
    """All built-in relations: 31, of which 30 with answers that differ (1,100 facts and more), 12 of them the classic list.

    The order is fixed; invented facts are drawn once with a fixed seed and never change within a version.
    """
    real = [_relation(i, name, noun, _pairs(table)) for i, (name, noun, table) in enumerate(_REAL)]
    rng = np.random.default_rng(20240220)
    made = [
        _relation(len(_REAL) + i, name, noun, _matched(topics, answers, rng), invented=True)
        for i, (name, noun, topics, answers) in enumerate(_INVENTED)
    ]
    return (*real, *made)


def relation(name: str) -> Relation:
    """One built-in relation by name; an unknown name is an OptionError with the nearest valid one."""
    named = {r.name: r for r in facts()}
    return named[choose("relation", name, tuple(named))]


def _pairs(table: str) -> tuple[Fact, ...]:
    pairs = [pair.split() for pair in table.replace("\n", "|").split("|")]
    return tuple(Fact(topic=topic, answer=answer) for topic, answer in pairs)


def _matched(topics: Sequence[str], answers: Sequence[str], rng: np.random.Generator) -> tuple[Fact, ...]:
    """Give every topic another answer by a random permutation without fixed points (nobody is his own rival)."""
    while True:
        order = rng.permutation(len(answers))[: len(topics)]
        if all(answers[k] != topic for topic, k in zip(topics, order, strict=True)):
            return tuple(Fact(topic=topic, answer=answers[int(k)]) for topic, k in zip(topics, order, strict=True))


def _relation(index: int, name: str, noun: str, pairs: tuple[Fact, ...], *, invented: bool = False) -> Relation:
    frames = [frame.replace("{noun}", noun) for frame in FRAMES]
    held = {(index + k * 5) % len(frames) for k in range(_FREE)}
    return Relation(
        name=name,
        noun=noun,
        templates=tuple(f for i, f in enumerate(frames) if i not in held),
        held_out_templates=tuple(f for i, f in enumerate(frames) if i in held),
        plain=f"The {noun} of {{topic}} is",
        facts=pairs,
        invented=invented,
    )


def prompt(
    relation: Relation,
    fact: Fact,
    template: str,
    *,
    shots: int = 0,
    rng: np.random.Generator | None = None,
    opener: str = "",
) -> Prompt:
    """`relation.prompt` with `shots` drawn demonstrations that share neither topic nor answer with the fact.

    `rng` is needed as soon as shots > 0.
    """
    checked(relation.name, (template,))
    return asked(relation, fact, template, shots=_shown(relation, fact, shots, rng), opener=opener)


def _shown(relation: Relation, fact: Fact, shots: int, rng: np.random.Generator | None) -> list[Fact]:
    if shots == 0:
        return []
    others = [f for f in relation.facts if f.topic != fact.topic and f.answer != fact.answer]
    if rng is None or not 0 < shots <= len(others):
        raise PromptError(
            f"{shots} demonstrations of relation {relation.name!r} cannot be drawn",
            found=f"{len(others)} other facts, rng={'given' if rng is not None else 'None'}",
            allowed="0 <= shots <= number of other facts, with a np.random.Generator",
        )
    return [others[i] for i in rng.choice(len(others), shots, replace=False)]


def checked(name: str, templates: Sequence[str]) -> None:
    """Raise DataError listing every template that has no `{topic}`, several, or nothing behind it."""
    bad = [t for t in templates if t.count("{topic}") != 1 or t.endswith("{topic}") or t != t.rstrip()]
    if bad:
        raise DataError(
            f"{len(bad)} templates of relation {name!r} cannot be used",
            found=listed(repr(t) for t in bad),
            allowed="exactly one {topic}, words behind it, no space at the end",
        )


def answers_repeat(relation: Relation) -> tuple[str, ...]:
    """The answers that more than one fact of the relation has; () if all differ."""
    given = [fact.answer for fact in relation.facts]
    return tuple(sorted({a for a in given if given.count(a) > 1}))
