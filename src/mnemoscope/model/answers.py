"""Answers as token ids: which token a model has to give next for its answer to begin.

The ids of an answer are what a text gains in tokens when the answer is written behind it. That is only an answer if the
text itself keeps its tokens. Where it does not (GPT-2 and a prompt that ends in a space: " d" is one token), the space
moves from the prompt to the answer, for all prompts asked together, and the result says so (route "stripped").
Label tokens: methods.md B4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnemoscope.data.prompt import Prompt
from mnemoscope.errors import PromptError, choose, listed
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM

ROUTES = ("auto", "extended", "stripped")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One prompt's answer and foils as token ids.

    prompt  the prompt to be read: the one that was asked, without its last spaces under route "stripped"
    ids     tokens of the answer; empty if the prompt has none
    foils   tokens of each foil
    route   "extended" (the answer's tokens follow the prompt's) or "stripped"
    """

    prompt: Prompt
    ids: tuple[int, ...]
    foils: tuple[tuple[int, ...], ...]
    route: str


def answer_ids(lm: LM, prompt: Prompt) -> Answer:
    """Token ids of one prompt's answer and foils."""
    return answers(lm, [prompt])[0]


def answers(lm: LM, prompts: Sequence[Prompt], *, route: str = "auto", bos: str | None = None) -> tuple[Answer, ...]:
    """Token ids of every prompt's answer and foils, all by the same route.

    "auto" takes "extended" if that is possible for every prompt, else "stripped". Raises PromptError with every
    offender where neither is possible.
    """
    choose("route", route, ROUTES)
    policy = lm.bos if bos is None else bos
    tried: list[str] = []
    for name in ("extended", "stripped") if route == "auto" else (route,):
        found = [_by_route(lm, prompt, name, policy) for prompt in prompts]
        misfits = [f"prompt {i} {answer}" for i, answer in enumerate(found) if isinstance(answer, str)]
        if not misfits:
            return tuple(answer for answer in found if isinstance(answer, Answer))
        tried.append(f"{name}: {listed(misfits, most=len(misfits))}")
    raise PromptError(
        f"no common way to turn the answers of {len(prompts)} prompts into tokens",
        found="; ".join(tried),
        allowed="answers that extend the prompt's tokens, with or without its last space",
        hint="begin the answers with a space, or end the prompts before one",
    )


def _by_route(lm: LM, prompt: Prompt, route: str, bos: str) -> Answer | str:
    read = _stripped(prompt) if route == "stripped" else prompt
    space = prompt.text[len(read.text) :]
    before = encode(lm.tokenizer, read.text, bos).ids
    ids: list[tuple[int, ...]] = []
    for words in (prompt.answer, *prompt.foils):
        if not words:
            ids.append(())
            continue
        after = encode(lm.tokenizer, read.text + space + words, bos).ids
        if after[: len(before)] != before or len(after) == len(before):
            return f"{read.text[-20:]!r} + {space + words!r}"
        ids.append(after[len(before) :])
    return Answer(prompt=read, ids=ids[0], foils=tuple(ids[1:]), route=route)


def _stripped(prompt: Prompt) -> Prompt:
    """The prompt without the spaces at its end; role ranges are cut there, and dropped where nothing is left."""
    text = prompt.text.rstrip(" ")
    if not text or text == prompt.text:
        return prompt
    spans = {
        role: tuple((a, min(b, len(text))) for a, b in ranges if a < len(text)) for role, ranges in prompt.spans.items()
    }
    return replace(prompt, text=text, spans=spans)


def first_difference(answer: Sequence[int], foil: Sequence[int]) -> tuple[int, int, int]:
    """Where two answers part: (index, the answer's token there, the foil's token there).

    At index 0 the two compete for the next token. Later, they do so only after the tokens they share: a logit
    difference has to be read behind prompt + answer[:index]. Raises PromptError if one begins with the other.
    """
    for index, (a, b) in enumerate(zip(answer, foil, strict=False)):
        if a != b:
            return index, a, b
    raise PromptError(
        "an answer and its foil cannot be told apart",
        found=f"{list(answer)} and {list(foil)}: one begins with the other",
        allowed="answers that differ in a token both have",
    )
