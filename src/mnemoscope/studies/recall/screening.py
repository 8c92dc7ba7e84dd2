"""Which facts a model can be asked, and what is left out, with the reason.

Facts that a model's tokenizer cannot tell apart or whose topic is no whole number of tokens are left out and listed, the others go
on. Topics are split in two halves once for all: what is chosen on one half is measured on the other. A topic that several
relations have is in the same half in all of them. Partners for interchange have the same half and the same number of tokens
in every template, and another answer.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mnemoscope.data import facts as built_in
from mnemoscope.data import formats
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.relation import Fact, Relation, answer_gap, prompt, usable
from mnemoscope.errors import DataError, UnsupportedError, listed
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM
from mnemoscope.results.job import seed_of
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.question import HALVES, Ask, Asked, Frame, ask, continuation

DECIDING = 2  # templates beyond the measured ones, on which it is decided what is known (B6.3)


def screened(lm: LM, config: Config) -> tuple[tuple[Asked, ...], tuple[LeftOut, ...]]:
    """Every relation that can be asked, and what was left out. Raises as `asking.asked`."""
    if lm.tokenizer is None:
        raise UnsupportedError("facts are asked as text", found=f"{lm.name} was loaded without a tokenizer")
    given, left = _given(config)
    fit, few = usable(given)
    left = [*left, *few]
    found: list[Asked] = []
    half: dict[str, str] = {}
    for relation in fit:
        one = _screened(lm, relation, config, half, left)
        if one is not None:
            found.append(one)
    if not found:
        raise DataError(
            f"{lm.name} can be asked none of {len(given)} relations",
            found=listed([str(case) for case in left], most=len(left)),
            allowed="two facts with answers that begin with different tokens, and a template with one {topic}",
        )
    return tuple(found), tuple(left)


def _given(config: Config) -> tuple[tuple[Relation, ...], list[LeftOut]]:
    if config.data is None:
        return built_in.facts(), []
    found = formats.read(config.data)
    if not found.relations:
        raise DataError(
            f"{config.data} holds no facts",
            found=f"{found.format}: {listed([str(case) for case in found.left_out]) or 'no relation'}",
            allowed="JSON lines with topic, answer and relation; LRE; CounterFact; ParaRel",
        )
    return found.relations, list(found.left_out)


def _frames(relation: Relation, config: Config) -> tuple[tuple[Frame, ...], int]:
    """Measured templates, then deciding ones; a relation of few templates is asked behind openers as well."""
    plain = [Frame(template=t) for t in (*relation.templates, *relation.held_out_templates)]
    wanted = config.n_templates + DECIDING
    opened = [Frame(template=f.template, opener=o) for o in built_in.OPENERS for f in plain[:1]]
    every = (*plain, *opened)[:wanted]
    return tuple(every), min(config.n_templates, len(every))


def _screened(lm: LM, relation: Relation, config: Config, half: dict[str, str], left: list[LeftOut]) -> Asked | None:
    """A relation with the facts that this model can be asked; None (and listed) where fewer than two remain."""
    frames, measured = _frames(relation, config)
    bare = Asked(
        relation=relation,
        frames=frames,
        measured=measured,
        facts=(),
        answers={},
        shared="",
        half={},
        partner={},
    )
    told = _unambiguous(relation, left)
    shared, answers = _answer_tokens(lm, bare, told, left)
    told = [fact for fact in told if fact.answer in answers]
    bare = replace(bare, shared=shared, answers=answers)
    rng = np.random.default_rng(seed_of(config.seed, f"topics {relation.name}"))
    drawn = [told[int(i)] for i in np.sort(rng.permutation(len(told))[: config.n_topics])]
    bare, drawn, lengths = _readable(lm, bare, drawn, left)
    if len(drawn) < 2 or len({fact.answer for fact in drawn}) < 2:
        left.append(LeftOut(id=relation.name, reason="fewer than two facts can be told apart", detail=f"{len(drawn)}"))
        return None
    own = _halved(drawn, half)
    pairs = _partners(drawn, own, lengths)
    return replace(bare, facts=tuple(drawn), half=own, partner=pairs)


def _unambiguous(relation: Relation, left: list[LeftOut]) -> list[Fact]:
    """One fact per topic; topics with several answers are left out."""
    by_topic: dict[str, dict[str, Fact]] = defaultdict(dict)
    for fact in relation.facts:
        by_topic[fact.topic].setdefault(fact.answer, fact)
    left += [
        LeftOut(id=f"{relation.name} / {topic}", reason="topic with several answers", detail=" / ".join(told))
        for topic, told in by_topic.items()
        if len(told) > 1
    ]
    return [next(iter(told.values())) for told in by_topic.values() if len(told) == 1]


def _answer_tokens(lm: LM, bare: Asked, told: Sequence[Fact], left: list[LeftOut]) -> tuple[str, dict[str, int]]:
    """What all answers share, and the token behind it, of every answer that no other answer shares it with."""
    ids: dict[str, tuple[int, ...]] = {}
    texts: dict[str, str] = {}
    for fact in told:
        made = prompt(bare.relation, fact, bare.frames[0].template)
        ids.setdefault(fact.answer, continuation(lm, encode(lm.tokenizer, made.text, lm.bos), made))
        texts.setdefault(fact.answer, made.text)
    lost = [answer for answer, tokens in ids.items() if not tokens]
    left += [
        LeftOut(id=f"{bare.name} / {answer}", reason="the tokenizer merges the answer with its template")
        for answer in lost
    ]
    ids = {answer: tokens for answer, tokens in ids.items() if tokens}
    depth = _common(list(ids.values()))
    shared = _text_of(lm, texts, ids, depth, bare) if depth else ""
    groups: dict[int, list[str]] = defaultdict(list)
    for answer, tokens in ids.items():
        if len(tokens) > depth:
            groups[tokens[depth]].append(answer)
    left += [
        LeftOut(id=f"{bare.name} / {answer}", reason="answers begin with the same token", detail=listed(same))
        for same in groups.values()
        for answer in same
        if len(same) > 1
    ]
    return shared, {same[0]: token for token, same in groups.items() if len(same) == 1}


def _common(rows: Sequence[tuple[int, ...]]) -> int:
    """Length of what all rows begin with; 0 for a single row."""
    depth = 0
    while len(rows) > 1 and all(len(row) > depth for row in rows) and len({row[depth] for row in rows}) == 1:
        depth += 1
    return depth


def _text_of(lm: LM, texts: Mapping[str, str], ids: Mapping[str, tuple[int, ...]], depth: int, bare: Asked) -> str:
    """The characters behind a prompt that are its first `depth` answer tokens."""
    answer, text = next((answer, texts[answer]) for answer in ids)
    gap = answer_gap(bare.frames[0].template)
    whole = encode(lm.tokenizer, text + gap + answer, lm.bos)
    place = len(whole.ids) - len(ids[answer]) + depth - 1
    end = whole.offsets[place][1] if whole.offsets is not None else len(text)
    return (text + gap + answer)[len(text) : end]


def _readable(
    lm: LM, bare: Asked, drawn: Sequence[Fact], left: list[LeftOut]
) -> tuple[Asked, list[Fact], dict[Fact, tuple[int, ...]]]:
    """Frames and facts that can be read as meant, and the tokens of every fact's prompt in every frame.

    A frame that fails for most of the facts goes (it is too long, or merges with whatever stands in it), then every fact that
    fails in one of the others. Both are listed.
    """
    found = {fact: [ask(lm, bare, fact, template) for template in range(len(bare.frames))] for fact in drawn}
    kept: list[int] = []
    for template, frame in enumerate(bare.frames):
        bad = [case for asked in found.values() if isinstance(case := asked[template], str)]
        if 2 * len(bad) > len(drawn):
            left.append(
                LeftOut(
                    id=f"{bare.name} / {frame.quoted}",
                    reason="the template cannot be read as meant",
                    detail=listed(bad),
                )
            )
        else:
            kept.append(template)
    if not kept:
        return bare, [], {}
    lengths: dict[Fact, tuple[int, ...]] = {}
    for fact, asked in found.items():
        bad = [case for i in kept if isinstance(case := asked[i], str)]
        if bad:
            name = f"{bare.name} / {fact.topic}"
            left.append(LeftOut(id=name, reason="the prompt cannot be read as meant", detail=listed(bad)))
        else:
            lengths[fact] = tuple(case.n_tokens for i in kept if isinstance(case := asked[i], Ask))
    frames = tuple(bare.frames[i] for i in kept)
    return replace(bare, frames=frames, measured=min(bare.measured, len(frames))), list(lengths), lengths


def _halved(drawn: Sequence[Fact], half: dict[str, str]) -> dict[str, str]:
    """Topics of a relation in two halves of equal size, as far as topics seen before allow it."""
    for fact in drawn:
        if fact.topic not in half:
            sizes = [sum(half.get(f.topic) == name for f in drawn) for name in HALVES]
            half[fact.topic] = HALVES[sizes[1] < sizes[0]]
    return {fact.topic: half[fact.topic] for fact in drawn}


def _partners(
    drawn: Sequence[Fact], half: Mapping[str, str], lengths: Mapping[Fact, tuple[int, ...]]
) -> dict[str, str]:
    """Partners in pairs where possible: neighbours within the group of one half and length with different answers."""
    groups: dict[tuple[str, tuple[int, ...]], list[Fact]] = defaultdict(list)
    for fact in drawn:
        groups[half[fact.topic], lengths[fact]].append(fact)
    pairs: dict[str, str] = {}
    for group in groups.values():
        waiting = list(group)
        while waiting:
            fact = waiting.pop(0)
            fit = next((f for f in waiting if f.answer != fact.answer), None)
            if fit is not None:
                waiting.remove(fit)
                pairs |= {fact.topic: fit.topic, fit.topic: fact.topic}
            else:  # an odd one out is exchanged one way
                one_way = next((f for f in group if f.answer != fact.answer), None)
                pairs |= {fact.topic: one_way.topic} if one_way is not None else {}
    return pairs
