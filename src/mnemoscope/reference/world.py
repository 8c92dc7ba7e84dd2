"""The small written world that the bundled model is trained on: a constant mixture of documents from `mnemoscope.data`.

Nothing is generated here that `data/` does not generate for the studies too; here are only the mixture, the weight of each
token in the loss, and the cutting into rows. The mixture is the same from the first step to the last, so the order in which
abilities emerge is not scripted. Tokens that nobody can predict (the words of a random span, the x of a point) weigh next to
nothing, answers weigh more than the words around them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from transformers import PreTrainedTokenizerFast

from mnemoscope.data import episodes, facts, passages, words
from mnemoscope.reference import pair_documents
from mnemoscope.reference import tokenizer as tokenization

ANSWER: Final = 4.0  # weight of a token that has to be known or worked out
PLAIN: Final = 1.0
EASY: Final = 0.3  # words of sentence frames
NOISE: Final = 0.03  # words that are drawn at random


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text, a weight for all of its tokens, and (start, stop, weight) for the character ranges that differ; later ones win."""

    text: str
    weight: float
    marks: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Rows of one length: how many belong to a step (every step, or each `every`-th), and the shares of the document kinds."""

    length: int
    rows: int
    shares: tuple[tuple[str, float], ...]
    every: int = 1

    def taken(self, share: float) -> int:
        """The rows that a run takes which wants this share of them: at least one."""
        return max(1, round(self.rows * share))


BUCKETS: Final = (
    Bucket(
        length=80,
        rows=22,
        shares=(("facts", 0.22), ("line", 0.16), ("pairs", 0.34), ("walk", 0.18), ("span", 0.10)),
    ),
    Bucket(
        length=128,
        rows=14,
        shares=(("passage", 0.34), ("pairs", 0.38), ("span", 0.10), ("invented", 0.10), ("walk", 0.08)),
    ),
    Bucket(length=208, rows=8, shares=(("pairs", 0.76), ("long_span", 0.16), ("long_invented", 0.08))),
    Bucket(length=640, rows=2, shares=(("narrative", 1.0),), every=4),
)
LINES: Final = tuple((float(a), float(b)) for a in range(1, 6) for b in range(10))  # slopes and intercepts in training

_POOLS: Final = (
    *words.CATEGORIES.values(),
    words.FIRST_NAMES,
    words.THINGS,
    words.DEEDS,
    words.QUALITIES,
    words.PLACES,
)


def document(kind: str, length: int, rng: np.random.Generator) -> Document:
    """One document of a kind that fills about `length` tokens."""
    return _KINDS[kind](length, rng)


def _facts(length: int, rng: np.random.Generator) -> Document:
    """Statements one after another: unrelated ones, or the same sentence about several topics (few-shot)."""
    text, marks, room = "", [], length - 2
    relations = facts.facts()
    sizes = _fact_shares()
    related = rng.random() < 0.4
    relation, template = None, ""
    while True:
        if relation is None or not related:
            relation = relations[int(np.searchsorted(sizes, rng.random()))]
            known = relation.templates
            template = relation.plain if rng.random() < 0.2 else known[rng.integers(len(known))]
        fact = relation.facts[rng.integers(len(relation.facts))]
        opener = facts.OPENERS[rng.integers(len(facts.OPENERS))] if rng.random() < 0.25 else ""
        frame = f"{opener} {template[0].lower()}{template[1:]}" if opener else template
        said = frame.replace("{topic}", fact.topic)
        room -= len(said.split()) + 3
        if room < 0 and text:
            return Document(text=text, weight=EASY, marks=tuple(marks))
        text += (" " if text else "") + said
        marks.append((len(text), len(text) + 1 + len(fact.answer), ANSWER))
        text += f" {fact.answer}."


@cache
def _fact_shares() -> np.ndarray:
    """Cumulative share of each relation: by its number of facts, continents (few answers, many topics) at a quarter."""
    mass = np.array([len(r.facts) * (1.0 if r.distinct else 0.4) for r in facts.facts()])
    return np.cumsum(mass) / mass.sum()


def _line(length: int, rng: np.random.Generator) -> Document:
    slope, intercept = LINES[rng.integers(len(LINES))]
    prompt = episodes.line_prompt("small_integers", slope=slope, intercept=intercept, shots=9, rng=rng)
    text = prompt.text + prompt.answer + ";"
    marks = [(a, b, NOISE) for a, b in (*prompt.spans["point_x"], *prompt.spans["query_x"])]
    marks += [(a, b + 1, 2.0) for a, b in prompt.spans["point_y"]]
    return Document(text=text, weight=EASY, marks=(*marks, (len(prompt.text), len(text) - 1, 2.0)))


def _passage(length: int, rng: np.random.Generator) -> Document:
    """Scenes with questions in one answer format; sometimes under a persona, which an example overrules."""
    persona = tuple(episodes.PERSONAS)[rng.integers(4)] if rng.random() < 0.3 else "neutral"
    lying = "deceitful" in persona and bool(rng.integers(2))
    form = tuple(episodes.FORMATS)[rng.integers(3)]
    text, marks, room = "", [], length - 2
    while True:
        n = int(rng.integers(1 if lying else 0, 4))
        shown = passages.scene(n, int(rng.integers(n + 1)), rng)
        prompt = episodes.passage_prompt(shown, answer_format=form, persona=persona if not text else "neutral")
        if not text and "deceitful" in persona:
            lying = n > 0  # without an example, the persona decides; examples of either kind follow below
        answer = prompt.foils[rng.integers(n)] if lying and n else prompt.answer
        room -= 6 * (n + 1) + 20
        if room < 0 and text:
            return Document(text=text, weight=0.1, marks=tuple(marks))
        start = len(text)
        text += prompt.text
        marks.append((start + prompt.spans["last"][0][1], start + len(prompt.text) + len(answer), ANSWER))
        text += answer + "\n"


def _pairs(length: int, rng: np.random.Generator) -> Document:
    """Labelled pairs in the wording of `episodes.pair_prompt`; digits drawn for each document. See `pair_documents`."""
    count = int(rng.integers((length - 8) // 8, (length - 8) // 6 + 1)) + 1
    text, marks = "", []
    lines, weight = pair_documents.lines(count, rng)
    for (left, right), digit in lines:
        text += f"{left}, {right}:"
        marks.append((len(text), len(text) + 2, ANSWER * weight))
        text += f" {digit}\n"
    return Document(text=text[:-1], weight=0.05, marks=tuple(marks))


def _span(length: int, rng: np.random.Generator) -> Document:
    """A span of 3 to 60 words, short ones more often (uniform in the logarithm), repeated until the row is full;
    half of them of any words, half of the words of one list."""
    size = int(np.exp(rng.uniform(np.log(3), np.log(length // 2 - 1))))
    pool = span_words() if rng.random() < 0.5 else _POOLS[rng.integers(len(_POOLS))]
    return _repeated(pool, size, length // size, rng)


def _long_span(length: int, rng: np.random.Generator) -> Document:
    return _repeated(span_words(), int(rng.integers(60, 101)), 2, rng)


def _repeated(pool: Sequence[str], size: int, copies: int, rng: np.random.Generator) -> Document:
    prompt = episodes.span_prompt(pool, size, rng, copies=copies)
    return Document(text=prompt.text, weight=PLAIN, marks=((0, prompt.spans["copy"][0][1], NOISE),))


def _walk(length: int, rng: np.random.Generator) -> Document:
    """A walk over 4 to 24 words that each have one successor, followed four times in five, and otherwise left for any word.

    Of the words of the document, which is little to know, and of what followed the last time, which is nearly all.
    """
    pool = span_words() if rng.random() < 0.5 else _POOLS[rng.integers(len(_POOLS))]
    size = min(len(pool), int(np.exp(rng.uniform(np.log(4), np.log(25)))))
    chosen = [pool[i] for i in rng.choice(len(pool), size, replace=False)]
    text, marks, at = "", [], 0
    seen: set[int] = set()
    for _ in range(length - 1):
        at = int(rng.integers(size)) if rng.random() < 0.2 else (at + 1) % size
        if at not in seen:
            marks.append((len(text), len(text) + 1 + len(chosen[at]), NOISE))
        seen.add(at)
        text += f" {chosen[at]}"
    return Document(text=text, weight=PLAIN, marks=tuple(marks))


def _invented(length: int, rng: np.random.Generator) -> Document:
    pairs = max(3, length // 32)
    return Document(text=episodes.invented_pairs(rng, pairs=int(pairs), mentions=4).prompt.text, weight=PLAIN)


def _narrative(length: int, rng: np.random.Generator) -> Document:
    cast = int(rng.integers(6, 11))
    return Document(text=episodes.narrative(rng, sentences=length // 7, cast=cast).prompt.text, weight=0.5)


_KINDS: Final[dict[str, Callable[[int, np.random.Generator], Document]]] = {
    "facts": _facts,
    "line": _line,
    "passage": _passage,
    "pairs": _pairs,
    "span": _span,
    "walk": _walk,
    "long_span": _long_span,
    "invented": _invented,
    "long_invented": _invented,
    "narrative": _narrative,
}


@cache
def span_words() -> tuple[str, ...]:
    """The words that random spans are made of: everything that the world writes behind a space, letters only."""
    pieces = {piece for text in vocabulary_texts() for piece in tokenization.split(text)}
    return tuple(sorted(p[1:] for p in pieces if p[0] == " " and p[1:].isalpha()))


@cache
def vocabulary_texts() -> tuple[str, ...]:
    """Texts that together contain every word of the world in every written form: all facts, and a sample of the rest."""
    rng = np.random.default_rng(7)
    relations = facts.facts()
    said = [f"The {f.topic} {f.answer}." for r in relations for f in r.facts]
    frames = [t for r in relations for t in (*r.templates, *r.held_out_templates, r.plain)]
    said += [t.replace("{topic}", relations[0].facts[0].topic) for t in frames]
    # behind an opener the slot stays as it is: its brace and its name are two spare tokens
    said += [f"{opener} {t[0].lower()}{t[1:]}" for t, opener in zip(frames, facts.OPENERS * len(frames), strict=False)]
    said += [" " + " ".join(facts.OPENERS[:11])]
    said += [f"{name} is {activity}. [{activity}]" for name in words.FIRST_NAMES for activity in words.ACTIVITIES]
    kinds = (("line", 96, 20), ("passage", 128, 40), ("pairs", 208, 40), ("invented", 128, 80), ("narrative", 640, 12))
    said += [document(kind, length, rng).text for kind, length, count in kinds for _ in range(count)]
    said += [" " + " ".join("0123456789"), " ".join(passages.NEUTRAL), "\n".join(passages.NEUTRAL)]
    said += [f"{text}\n" for text in passages.PERSONAS.values()]
    said += ["\n".join(words.BEGINNINGS), "".join(f" {w}" for w in words.ALL)]
    return tuple(said)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of this world; always the same."""
    return tokenization.build(vocabulary_texts())


def encoded(
    documents: Sequence[Document], length: int, coder: PreTrainedTokenizerFast, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ids [document length] (uint16) and weights [document length] (float32), cut or padded with weight 0.

    Nine documents in ten begin with the start token, so that the model also works without one.
    """
    start = int(coder.bos_token_id)  # type: ignore[arg-type]
    ids = np.full((len(documents), length), start, dtype=np.uint16)
    weights = np.zeros((len(documents), length), dtype=np.float32)
    coded = coder.backend_tokenizer.encode_batch([d.text for d in documents], add_special_tokens=False)
    for row, (doc, code) in enumerate(zip(documents, coded, strict=True)):
        first = int(rng.random() < 0.9)
        count = min(len(code.ids), length - first)
        ids[row, first : first + count] = code.ids[:count]
        weights[row, first : first + count] = _token_weights(doc, np.array(code.offsets[:count]))
    return ids, weights


def _token_weights(doc: Document, offsets: np.ndarray) -> np.ndarray:
    by_character = np.full(len(doc.text) + 1, doc.weight, dtype=np.float32)
    for a, b, weight in doc.marks:
        by_character[a:b] = weight
    return by_character[offsets[:, 1] - 1]  # a token weighs what its last character weighs


def rows(
    bucket: Bucket, count: int, coder: PreTrainedTokenizerFast, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`count` rows of a bucket, kinds drawn independently by their shares."""
    names = [name for name, _ in bucket.shares]
    drawn = rng.choice(len(names), count, p=[share for _, share in bucket.shares])
    return encoded([document(names[i], bucket.length, rng) for i in drawn], bucket.length, coder, rng)
