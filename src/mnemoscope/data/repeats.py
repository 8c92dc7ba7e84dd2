"""Documents in which something is introduced and comes again: random spans, invented pairs, narratives (methods P1.3, P1.4).

Random spans have no meaning at all, so only copying can predict their second copy. Invented pairs are stated once in a sentence
with a relation and asked again in another wording. A narrative has a cast, a vocabulary and habits of its own, so that its
late tokens are easier than its early ones for whoever reads the context.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnemoscope.data import grammar
from mnemoscope.data.prompt import Prompt, joined
from mnemoscope.data.words import shuffled
from mnemoscope.errors import PromptError


def span_prompt(words: Sequence[str], length: int, rng: np.random.Generator, *, copies: int = 2) -> Prompt:
    """`length` words drawn without order or meaning, `copies` times in a row, separated by single spaces.

    Words are drawn without replacement if there are enough. The text begins with a space, so that every word is written the
    same way in each copy. Roles: copy (one range per copy). Labels: length, copies.
    """
    if length < 1 or copies < 1 or not words:
        raise PromptError(
            "no span", found=f"length={length}, copies={copies}", allowed="length, copies >= 1, and words"
        )
    enough = len(words) >= length
    drawn: list[int] = rng.choice(len(words), length, replace=not enough).tolist()
    text = "".join(f" {words[i]}" for i in drawn)
    return joined([("copy", text)] * copies, labels={"length": length, "copies": copies})


@dataclass(frozen=True, kw_only=True)
class Story:
    """A text and its sentences, each with the character at which it begins."""

    prompt: Prompt
    sentences: tuple[grammar.Sentence, ...]
    starts: tuple[int, ...]


def narrative(rng: np.random.Generator, *, sentences: int = 70, cast: int = 7) -> Story:
    """A narrative of about nine tokens per sentence about `cast` persons with habits. Roles: sentence. Labels: cast, sentences."""
    habits = grammar.habits(cast, rng)
    order: list[int] = rng.integers(cast, size=sentences).tolist()
    told = tuple(grammar.clause(habits[i], rng) for i in order)
    return _story(told, {"cast": cast, "sentences": sentences})


def invented_pairs(
    rng: np.random.Generator, *, pairs: int = 5, mentions: int = 3, letters: bool | None = None
) -> Story:
    """Relations between entities, each introduced once and used again `mentions - 1` times, in two wordings and shuffled order.

    Roles: sentence, introduction. Labels: pairs, mentions, letters. Entities are things, or capital letters (None: by a coin).
    """
    as_letters = bool(rng.integers(2)) if letters is None else letters
    drawn = grammar.entity_pairs(pairs, rng, letters=as_letters)
    told: list[grammar.Sentence] = []
    for _ in range(mentions):
        told += [grammar.statement(relation, head, tail, rng) for relation, head, tail in shuffled(drawn, rng)]
    return _story(tuple(told), {"pairs": pairs, "mentions": mentions, "letters": as_letters}, introductions=pairs)


def _story(told: tuple[grammar.Sentence, ...], labels: dict[str, int | bool], introductions: int = 0) -> Story:
    text, starts = grammar.text_of(told)
    spans = [(start, start + len(sentence.text)) for start, sentence in zip(starts, told, strict=True)]
    roles = {"sentence": tuple(spans)}
    if introductions:
        roles["introduction"] = tuple(spans[:introductions])
    return Story(prompt=Prompt(text=text, spans=roles, labels=labels), sentences=told, starts=starts)
