"""Sentences that carry their own gold analysis: dependency trees, and relation triples between entities (methods P1.2).

A sentence is built from an annotated pattern, so that its tree is right by construction: no parser is involved. Labels are
those of Universal Dependencies; what P1 calls subj, obj and mod are the edges nsubj, obj and amod (`SYNTACTIC`). The semantic
relations carry the names of the AGENDA set, with invented content drawn per document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mnemoscope.data import words
from mnemoscope.errors import choose

SYNTACTIC: Final = {"nsubj": "subj", "obj": "obj", "amod": "mod"}


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word and its half-open character range within the sentence."""

    text: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Triple:
    """`head` stands in `relation` to `tail`; both are indices into the sentence's words."""

    relation: str
    head: int
    tail: int


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence with its tree: `heads[i]` is the index of word i's head, -1 for the root; `deprels[i]` names the edge."""

    text: str
    words: tuple[Word, ...]
    heads: tuple[int, ...]
    deprels: tuple[str, ...]
    triples: tuple[Triple, ...] = ()

    @property
    def edges(self) -> tuple[Triple, ...]:
        """The syntactic relations subj, obj and mod: the head of the triple is the governor, the tail its dependent."""
        return tuple(
            Triple(relation=SYNTACTIC[label], head=self.heads[i], tail=i)
            for i, label in enumerate(self.deprels)
            if label in SYNTACTIC
        )


# word/label/head, one-based heads as in CoNLL-U, 0 for the root. {h} and {t} are the entities of the triple.
_STATEMENTS: Final = {
    "USED-FOR": (
        "The/det/2 {h}/nsubj/4 is/aux/4 used/root/0 for/case/7 the/det/7 {t}/obl/4 ./punct/4",
        "We/nsubj/2 use/root/0 the/det/4 {h}/obj/2 for/case/7 the/det/7 {t}/obl/2 ./punct/2",
    ),
    "PART-OF": (
        "The/det/2 {h}/nsubj/4 is/cop/4 part/root/0 of/case/7 the/det/7 {t}/nmod/4 ./punct/4",
        "The/det/2 {h}/nsubj/3 belongs/root/0 to/case/6 the/det/6 {t}/obl/3 ./punct/3",
    ),
    "FEATURE-OF": (
        "The/det/2 {h}/nsubj/4 is/cop/4 typical/root/0 of/case/7 the/det/7 {t}/obl/4 ./punct/4",
        "The/det/2 {h}/nsubj/3 marks/root/0 the/det/5 {t}/obj/3 ./punct/3",
    ),
    "HYPONYM-OF": (
        "The/det/2 {h}/nsubj/5 is/cop/5 a/det/5 kind/root/0 of/case/7 {t}/nmod/5 ./punct/5",
        "The/det/2 {h}/nsubj/3 counts/root/0 as/case/6 a/det/6 {t}/obl/3 ./punct/3",
    ),
    "COMPARE": (
        "The/det/2 {h}/nsubj/4 is/aux/4 compared/root/0 with/case/7 the/det/7 {t}/obl/4 ./punct/4",
        "The/det/2 {h}/nsubj/3 resembles/root/0 the/det/5 {t}/obj/3 ./punct/3",
    ),
    # "judged by" says it the other way round (the tail evaluates); the bundled model has learned it so: to be mended with the next
    "EVALUATE-FOR": (
        "The/det/2 {h}/nsubj/4 is/aux/4 judged/root/0 by/case/7 the/det/7 {t}/obl/4 ./punct/4",
        "The/det/2 {h}/nsubj/3 measures/root/0 the/det/5 {t}/obj/3 ./punct/3",
    ),
    "CONJUNCTION": (
        "The/det/2 {h}/nsubj/7 and/cc/5 the/det/5 {t}/conj/2 are/cop/7 together/root/0 ./punct/7",
        "The/det/2 {h}/nsubj/3 goes/root/0 with/case/6 the/det/6 {t}/obl/3 ./punct/3",
    ),
}
RELATIONS: Final = tuple(_STATEMENTS)
_CLAUSES: Final = (
    "{s}/nsubj/2 {d}/root/0 the/det/5 {q}/amod/5 {o}/obj/2 ./punct/2",
    "{s}/nsubj/3 {a}/advmod/3 {d}/root/0 the/det/6 {q}/amod/6 {o}/obj/3 ./punct/3",
    "{s}/nsubj/2 {d}/root/0 the/det/5 {q}/amod/5 {o}/obj/2 in/case/8 the/det/8 {p}/obl/2 ./punct/2",
    "In/case/3 the/det/3 {p}/obl/6 ,/punct/6 {s}/nsubj/6 {d}/root/0 the/det/9 {q}/amod/9 {o}/obj/6 ./punct/6",
    "The/det/3 {q}/amod/3 {o}/nsubj/6 is/cop/6 always/advmod/6 {m}/root/0 ./punct/6",
    "{s}/nsubj/2 lives/root/0 near/case/5 the/det/5 {p}/obl/2 ./punct/2",
)


def statement(relation: str, head: str, tail: str, rng: np.random.Generator) -> Sentence:
    """One sentence that states `relation` between two entities, in one of two wordings; its triple is marked."""
    forms = _STATEMENTS[choose("relation", relation, RELATIONS)]
    return _built(forms[rng.integers(len(forms))], {"h": head, "t": tail}, relation)


@dataclass(frozen=True, kw_only=True)
class Habit:
    """What a person of a narrative does all through it: subject, deed, quality and object, place, material."""

    subject: str
    deed: str
    quality: str
    thing: str
    place: str
    material: str


def clause(habit: Habit, rng: np.random.Generator) -> Sentence:
    """One sentence about a habit, in one of six forms."""
    slots = {
        "s": habit.subject,
        "d": habit.deed,
        "q": habit.quality,
        "o": habit.thing,
        "p": habit.place,
        "m": habit.material,
        "a": words.ADVERBS[rng.integers(len(words.ADVERBS))],
    }
    return _built(_CLAUSES[rng.integers(len(_CLAUSES))], slots, "")


def habits(count: int, rng: np.random.Generator) -> tuple[Habit, ...]:
    """Persons with habits of their own: within one draw no deed, thing, quality or place is shared."""

    columns = zip(
        words.shuffled(words.FIRST_NAMES, rng, count),
        words.shuffled(words.DEEDS, rng, count),
        words.shuffled(words.QUALITIES, rng, count),
        words.shuffled(words.THINGS, rng, count),
        words.shuffled(words.PLACES, rng, count),
        words.shuffled(words.QUALITIES, rng, count),
        strict=True,
    )
    return tuple(Habit(subject=s, deed=d, quality=q, thing=o, place=p, material=m) for s, d, q, o, p, m in columns)


def entity_pairs(count: int, rng: np.random.Generator, *, letters: bool = False) -> tuple[tuple[str, str, str], ...]:
    """(relation, head, tail) with no entity twice; `letters` draws capital letters (not A and I, which are words)."""
    members = tuple("BCDEFGHJKLMNOPQRSTUVWXYZ") if letters else words.THINGS
    drawn = words.shuffled(members, rng)
    return tuple((RELATIONS[rng.integers(len(RELATIONS))], drawn[2 * i], drawn[2 * i + 1]) for i in range(count))


def text_of(sentences: Sequence[Sentence]) -> tuple[str, tuple[int, ...]]:
    """Sentences joined by spaces, and the character at which each begins."""
    text, starts = "", list[int]()
    for sentence in sentences:
        text += " " if text else ""
        starts.append(len(text))
        text += sentence.text
    return text, tuple(starts)


def _built(pattern: str, slots: dict[str, str], relation: str) -> Sentence:
    """Read an annotated pattern: words are joined by spaces, none before punctuation."""
    text, found, heads, labels, at = "", list[Word](), list[int](), list[str](), dict[str, int]()
    for i, item in enumerate(pattern.split()):
        form, label, head = item.rsplit("/", 2)
        if form.startswith("{"):
            at[form[1:-1]] = i
            form = slots[form[1:-1]]
        text += " " if text and label != "punct" else ""
        found.append(Word(text=form, start=len(text), stop=len(text) + len(form)))
        text += form
        heads.append(int(head) - 1)
        labels.append(label)
    triples = (Triple(relation=relation, head=at["h"], tail=at["t"]),) if relation else ()
    return Sentence(text=text, words=tuple(found), heads=tuple(heads), deprels=tuple(labels), triples=triples)
