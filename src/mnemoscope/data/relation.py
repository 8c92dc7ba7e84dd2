"""Facts and the relations they belong to: one shape for built-in, LRE, CounterFact and ParaRel-style data.

A relation is a list of templates with one `{topic}` slot and a list of (topic, answer) facts. `prompt` turns one
fact and one template into a `Prompt` whose roles are what the recall study asks for (Lv et al. 2024, methods.md
P2.1): topic, relation word, and for demonstrations shot_topic and shot_answer. The answer follows the last position.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Label, Prompt, Span, joined
from mnemoscope.errors import DataError, PromptError, listed

SLOT = "{topic}"
OPENING = ("(", "[", "“", "‘", "«")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One topic and its answer, as words without surrounding space.

    aliases     other spellings that also count as right
    foils       wrong answers that the source itself names (CounterFact's target_new); may be empty
    templates   templates that the source wrote for this fact alone; may be empty
    """

    topic: str
    answer: str
    aliases: tuple[str, ...] = ()
    foils: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A named relation: templates x facts. Templates hold exactly one `{topic}` slot and no space at either end.

    held_out_templates   kept apart by the source: not trained on, or for deciding what is known (methods.md B6.3)
    noun                 what names the relation inside its templates ("capital"); "" if nothing does
    plain                the classic short sentence, where it is not one of the templates; "" if there is none
    kind                 the source's own family of relations ("factual", "linguistic" ...); "" if it has none
    invented             whether the facts are of an invented world, so that no other model can know them

    Raises DataError listing every bad template and every fact with an empty or padded topic or answer.
    """

    name: str
    templates: tuple[str, ...]
    facts: tuple[Fact, ...]
    held_out_templates: tuple[str, ...] = ()
    noun: str = ""
    plain: str = ""
    kind: str = ""
    invented: bool = False

    def __post_init__(self) -> None:
        own = [template for fact in self.facts for template in fact.templates]
        every = [*self.templates, *self.held_out_templates, *([self.plain] if self.plain else []), *own]
        bad = [f"template {template!r} {why}" for template in every if (why := template_fault(template))]
        words = [(fact, name, text) for fact in self.facts for name, text in _words(fact)]
        bad += [
            f"{name} {text!r} of topic {fact.topic!r}" for fact, name, text in words if text != text.strip() or not text
        ]
        if bad:
            raise DataError(
                f"relation {self.name!r} has {len(bad)} entries that cannot be used",
                found=listed(bad),
                allowed=f"templates with exactly one {SLOT} slot; words without surrounding space",
            )

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics, each once, in file order."""
        return tuple(dict.fromkeys(fact.topic for fact in self.facts))

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers, each once, in file order."""
        return tuple(dict.fromkeys(fact.answer for fact in self.facts))

    @property
    def distinct(self) -> bool:
        """Whether no two facts have the same answer."""
        return len(self.answers) == len(self.facts)

    def template(self, index: int) -> str:
        """Template by number: `templates` first, then the held-out ones."""
        return (*self.templates, *self.held_out_templates)[index]


def _words(fact: Fact) -> list[tuple[str, str]]:
    lists = [("alias", word) for word in fact.aliases] + [("foil", word) for word in fact.foils]
    return [("topic", fact.topic), ("answer", fact.answer), *lists]


def template_fault(template: str) -> str:
    """Why a template cannot be used, or "": exactly one `{topic}` slot, no other brace, no space at the ends."""
    if template.count(SLOT) != 1:
        return f"has {template.count(SLOT)} slots {SLOT}"
    if set("{}") & set(template.replace(SLOT, "")):
        return "has a brace outside its slot"
    return "" if template == template.strip() else "begins or ends with space"


def prompt(relation: Relation, fact: Fact, template: str, *, shots: Sequence[Fact] = (), opener: str = "") -> Prompt:
    """The question that asks for one fact, with its answer behind it.

    Text: `<demonstrations><opener> <template>`; a demonstration is the template filled with another fact, its answer
    and ". " (methods.md P2.1), without the opener. Behind an opener that does not end a sentence, the template's first
    letter is set small. Roles: `topic`, `relation_word` (last word of the relation's noun, at its last occurrence in
    the template), `last` (the last word, unless it is the topic), `opener`, and per demonstration `shot_topic` and
    `shot_answer`. Labels: relation, topic, template, opener, shots, and answer_in_shots, which says that a
    demonstration already shows the answer. Foils: the fact's own, or else the answers of all other topics.
    The answer carries the space that stands before it, unless the template ends with an opening bracket or quote.
    Raises PromptError if a demonstration has the topic of the question.
    """
    if fault := template_fault(template):
        raise PromptError(
            f"relation {relation.name!r}: template {template!r} {fault}", allowed=f"exactly one {SLOT} slot"
        )
    same = [shot.answer for shot in shots if shot.topic == fact.topic]
    if same:
        raise PromptError(
            f"{len(same)} demonstrations have the topic of the question, {fact.topic!r}",
            found=listed(same),
            allowed="demonstrations with other topics",
        )
    gap = answer_gap(template)
    pieces: list[str | tuple[str, str]] = []
    for shot in shots:
        before, _, behind = template.partition(SLOT)
        pieces += [before, ("shot_topic", shot.topic), behind + gap, ("shot_answer", shot.answer), ". "]
    pieces += [("opener", opener), " "] if opener else []
    question = _small(template) if opener and opener[-1] not in ".!?" else template
    whole = joined([*pieces, question.replace(SLOT, fact.topic)])
    start = len(whole.text) - len(question) + len(SLOT) - len(fact.topic)
    labels: dict[str, Label] = {
        "relation": relation.name,
        "topic": fact.topic,
        "template": template,
        "opener": opener,
        "shots": len(shots),
        "answer_in_shots": any(shot.answer == fact.answer for shot in shots),
    }
    return replace(
        whole,
        spans={**whole.spans, **_roles(question, fact.topic, relation.noun, start)},
        answer=gap + fact.answer,
        foils=tuple(gap + foil for foil in fact.foils or _other_answers(relation, fact)),
        labels=labels,
    )


def _other_answers(relation: Relation, fact: Fact) -> tuple[str, ...]:
    right = {*fact.aliases, *(other.answer for other in relation.facts if other.topic == fact.topic)}
    return tuple(answer for answer in relation.answers if answer not in right)


def answer_gap(template: str) -> str:
    """The space between a template and its answer: " ", or "" behind an opening bracket or an opening quote."""
    quoted = template.endswith('"') and template.count('"') % 2 == 1
    return "" if quoted or template.endswith(OPENING) else " "


def draw_shots(relation: Relation, fact: Fact, shots: int, generator: np.random.Generator) -> tuple[Fact, ...]:
    """Draw demonstrations for one fact: other topics, each topic once; facts with another answer come first.

    Facts that share the answer are drawn only when the others do not suffice (`answer_in_shots` then says so).
    Raises DataError if the relation has fewer than `shots` other topics.
    """
    order: list[Fact] = [relation.facts[int(i)] for i in generator.permutation(len(relation.facts))]
    one_each: dict[str, Fact] = {other.topic: other for other in reversed(order) if other.topic != fact.topic}
    if len(one_each) < shots:
        raise DataError(
            f"{shots} demonstrations for {fact.topic!r} of relation {relation.name!r}",
            found=f"{len(one_each)} other topics",
            hint="ask for fewer demonstrations or add facts",
        )
    others = [other for other in order if one_each.get(other.topic) is other]
    return tuple(sorted(others, key=lambda other: other.answer == fact.answer)[:shots])


def complaints(relation: Relation) -> tuple[LeftOut, ...]:
    """What a careful reader would object to, one record each; nothing is removed.

    Repeated facts; topics with several answers (the question is then ambiguous); different answers that begin with the
    same word or of which one begins with the other (they collide in their first token under many tokenizers; the
    tokens themselves are compared in `model/batch.py`); fewer than two topics.
    """
    answers: dict[str, list[str]] = defaultdict(list)
    heads: dict[str, list[str]] = defaultdict(list)
    for fact in relation.facts:
        answers[fact.topic].append(fact.answer)
    for answer in relation.answers:
        heads[answer.split()[0].casefold()].append(answer)
    found = [_said(relation, t, "repeated fact", a[0]) for t, a in answers.items() if len(a) > len(set(a))]
    found += [
        _said(relation, t, "topic with several answers", " / ".join(dict.fromkeys(a)))
        for t, a in answers.items()
        if len(set(a)) > 1
    ]
    found += [_said(relation, w, "answers begin with the same word", listed(a)) for w, a in heads.items() if len(a) > 1]
    if len(relation.topics) < 2:
        found.append(_said(relation, "", "fewer than two topics", f"{len(relation.topics)}"))
    return tuple(found)


def _said(relation: Relation, topic: str, reason: str, detail: str) -> LeftOut:
    return LeftOut(id=f"{relation.name} / {topic}" if topic else relation.name, reason=reason, detail=detail)


def usable(relations: Sequence[Relation], *, topics: int = 2) -> tuple[tuple[Relation, ...], tuple[LeftOut, ...]]:
    """Relations with enough topics and at least one template, and the list of the others."""
    left = [
        _said(r, "", "too few topics", f"{len(r.topics)}, at least {topics}")
        for r in relations
        if len(r.topics) < topics
    ]
    left += [_said(r, "", "no template", "") for r in relations if len(r.topics) >= topics and not r.templates]
    out = {case.id for case in left}
    return tuple(relation for relation in relations if relation.name not in out), tuple(left)


def _roles(question: str, topic: str, noun: str, start: int) -> dict[str, tuple[Span, ...]]:
    """Where topic, relation word and last word of a question stand that begins at character `start`."""
    before, _, behind = question.partition(SLOT)
    stop = start + len(before) + len(topic)
    spans: dict[str, tuple[Span, ...]] = {"topic": ((start + len(before), stop),)}
    word = re.escape((noun.split() or [""])[-1])
    for offset, part in ((start, before), (stop, behind)):  # the later part decides
        for found in re.finditer(rf"(?<!\w){word}(?!\w)", part) if word else ():
            spans["relation_word"] = ((offset + found.start(), offset + found.end()),)
    for found in re.finditer(r"\S+", behind):
        spans["last"] = ((stop + found.start(), stop + found.end()),)
    return spans


def _small(template: str) -> str:
    first = template.split()[0]
    keeps = first.startswith("{") or first in {"I", "I'm"} or (len(first) > 1 and first.isupper())
    return template if keeps else template[0].lower() + template[1:]
