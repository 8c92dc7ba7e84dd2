"""Facts as one model reads them: which tokens answer, which facts can be told apart, who is exchanged with whom.

Everything downstream asks through this file, so that it asks alike. The answer token is the first token at which the
answers of a relation differ; what they share before it is written behind the prompt. A topic of several tokens is where
its last token stands. Facts that a model's tokenizer cannot tell apart or whose topic is no whole number of tokens are left
out and listed, the others go on (methods.md P2.1, B6).

Topics are split in two halves once for all: what is chosen on one half is measured on the other. A topic that several
relations have is in the same half in all of them. Partners for interchange have the same half and the same number of tokens
in every template, and another answer.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from mnemoscope.data import facts as built_in
from mnemoscope.data import formats
from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.prompt import Prompt
from mnemoscope.data.relation import Fact, Relation, answer_gap, draw_shots, prompt, usable
from mnemoscope.errors import DataError, UnsupportedError, listed
from mnemoscope.model.align import token_range
from mnemoscope.model.encode import Encoding, encode
from mnemoscope.model.lm import LM
from mnemoscope.results.job import canonical, seed_of
from mnemoscope.studies.recall.config import Config

HALVES = ("a", "b")
DECIDING = 2  # templates beyond the measured ones, on which it is decided what is known (B6.3)
FEWEST = 6  # topics of a relation whose workings are measured


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A template, maybe behind an opener."""

    template: str
    opener: str = ""

    def __str__(self) -> str:
        return f"{self.opener} {self.template}".strip()


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One fact, asked once. answer: the token that has to come next; topic_first, topic_last: ids of the topic's tokens."""

    relation: str
    topic: str
    half: str
    template: int
    shots: int
    prompt: Prompt
    answer: int
    topic_first: int
    topic_last: int
    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One relation as a model reads it.

    frames    the measured ones first, then those on which it is decided what is known; `measured` counts the first
    facts     the drawn facts that this model can be asked; one per topic
    answers   answer -> token, of all facts of the relation whose answers can be told apart
    shared    what all answers begin with: written behind the prompt
    half      topic -> "a" or "b"
    partner   topic -> the topic it is exchanged with; absent where there is none
    """

    relation: Relation
    frames: tuple[Frame, ...]
    measured: int
    facts: tuple[Fact, ...]
    answers: Mapping[str, int]
    shared: str
    half: Mapping[str, str]
    partner: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the relation."""
        return self.relation.name

    @property
    def deciding(self) -> tuple[int, ...]:
        """Templates on which relations are chosen: not measured ones where there are such."""
        return tuple(range(self.measured, len(self.frames))) or tuple(range(self.measured))

    def fact(self, topic: str) -> Fact:
        """The fact of a topic."""
        return next(fact for fact in self.facts if fact.topic == topic)


def asked(lm: LM, config: Config) -> tuple[tuple[Asked, ...], tuple[LeftOut, ...]]:
    """Every relation that this model can be asked, and what was left out. Found once per model and configuration.

    Raises DataError listing everything that was left out where no relation remains, UnsupportedError without a tokenizer.
    """
    return lm.once(f"recall: facts {canonical(asdict(config))}", lambda: _asked(lm, config))


def other(half: str) -> str:
    """The other half."""
    return HALVES[half == HALVES[0]]


def asks(
    lm: LM,
    one: Asked,
    template: int,
    *,
    shots: int = 0,
    seed: int = 0,
    topics: Sequence[str] | None = None,
    left: list[LeftOut] | None = None,
) -> tuple[Ask, ...]:
    """The drawn facts of a relation (or those of some topics) in one frame, behind `shots` demonstrations.

    Demonstrations show neither the topic nor its partner. A fact that cannot be asked so (behind demonstrations that are too
    long) is added to `left`; without such a list, DataError names every one.
    """
    wanted = [fact for fact in one.facts if topics is None or fact.topic in topics]
    found = [_behind(lm, one, fact, template, _drawn(one, fact, shots, seed)) for fact in wanted]
    kept = _sorted_out(one, found, f"not asked with {shots} demonstrations", left)
    return tuple(case for i in kept if isinstance(case := found[i], Ask))


def exchanges(
    lm: LM,
    one: Asked,
    template: int,
    *,
    shots: int = 0,
    seed: int = 0,
    topics: Sequence[str] | None = None,
    left: list[LeftOut] | None = None,
) -> tuple[tuple[Ask, ...], tuple[Ask, ...]]:
    """Base prompts of topics that have a partner, and their partners' prompts behind the same demonstrations."""
    wanted = [f for f in one.facts if f.topic in one.partner and (topics is None or f.topic in topics)]
    drawn = [_drawn(one, fact, shots, seed) for fact in wanted]
    base = [_behind(lm, one, fact, template, shown) for fact, shown in zip(wanted, drawn, strict=True)]
    partners = [one.fact(one.partner[fact.topic]) for fact in wanted]
    source = [_behind(lm, one, fact, template, shown) for fact, shown in zip(partners, drawn, strict=True)]
    either = [mine if isinstance(mine, str) else other for mine, other in zip(base, source, strict=True)]
    kept = _sorted_out(one, either, f"not exchanged with {shots} demonstrations", left)
    return (
        tuple(case for i in kept if isinstance(case := base[i], Ask)),
        tuple(case for i in kept if isinstance(case := source[i], Ask)),
    )


def _behind(lm: LM, one: Asked, fact: Fact, template: int, shown: tuple[Fact, ...] | str) -> Ask | str:
    return shown if isinstance(shown, str) else _ask(lm, one, fact, template, shown)


def _sorted_out(one: Asked, found: Sequence[Ask | str], reason: str, left: list[LeftOut] | None) -> list[int]:
    """Places of what can be asked; the rest is listed, or refused."""
    bad = [case for case in found if isinstance(case, str)]
    if bad and left is None:
        raise DataError(f"facts of relation {one.name!r} {reason}", found=listed(bad))
    if bad and left is not None:
        left += [LeftOut(id=one.name, reason=reason, detail=case) for case in bad]
    return [i for i, case in enumerate(found) if isinstance(case, Ask)]


def _drawn(one: Asked, fact: Fact, shots: int, seed: int) -> tuple[Fact, ...] | str:
    """Demonstrations for a fact, or why there are none."""
    try:
        return _shots(one, fact, shots, seed)
    except DataError as error:
        return str(error)


def _shots(one: Asked, fact: Fact, shots: int, seed: int) -> tuple[Fact, ...]:
    if not shots:
        return ()
    pair = sorted({fact.topic, one.partner.get(fact.topic, fact.topic)})
    rng = np.random.default_rng(seed_of(seed, f"shots {one.name} {pair[0]}"))
    hidden = {other.answer for other in one.facts if other.topic in pair}
    rest = tuple(f for f in one.relation.facts if f.topic not in pair or f.topic == fact.topic)
    open_ones = tuple(f for f in rest if f.answer not in hidden or f.topic == fact.topic)
    from_these = open_ones if len({f.topic for f in open_ones}) > shots else rest
    return draw_shots(replace(one.relation, facts=from_these), fact, shots, rng)


def _ask(lm: LM, one: Asked, fact: Fact, template: int, shots: tuple[Fact, ...] = ()) -> Ask | str:
    """The fact as a prompt, or why it cannot be asked so."""
    frame = one.frames[template]
    made = prompt(one.relation, fact, frame.template, shots=shots, opener=frame.opener)
    made = replace(made, text=made.text + one.shared, answer=made.answer.removeprefix(one.shared))
    encoding = encode(lm.tokenizer, made.text, lm.bos)
    if lm.n_ctx and len(encoding.ids) > lm.n_ctx:
        return f"{made.text[:60]!r}: {len(encoding.ids)} tokens, the context has {lm.n_ctx}"
    span = token_range(made.text, encoding.offsets or (), made.spans["topic"][-1])
    if isinstance(span, str):
        return f"topic {fact.topic!r} in {frame.template!r} is no whole number of tokens: {span}"
    following = _continuation(lm, encoding, made)
    expected = one.answers.get(fact.answer)
    if not following or (expected is not None and following[0] != expected):
        return f"answer {fact.answer!r} behind {made.text[-30:]!r} does not begin with its token"
    return Ask(
        relation=one.name,
        topic=fact.topic,
        half=one.half.get(fact.topic, HALVES[0]),
        template=template,
        shots=len(shots),
        prompt=made,
        answer=following[0],
        topic_first=encoding.ids[span[0]],
        topic_last=encoding.ids[span[1] - 1],
        n_tokens=len(encoding.ids),
    )


def _continuation(lm: LM, before: Encoding, made: Prompt) -> tuple[int, ...]:
    """Tokens that the answer adds to its prompt; () if the prompt does not keep its own."""
    after = encode(lm.tokenizer, made.text + made.answer, lm.bos).ids
    n = len(before.ids)
    return after[n:] if after[:n] == before.ids else ()


def _asked(lm: LM, config: Config) -> tuple[tuple[Asked, ...], tuple[LeftOut, ...]]:
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
        ids.setdefault(fact.answer, _continuation(lm, encode(lm.tokenizer, made.text, lm.bos), made))
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
    found = {fact: [_ask(lm, bare, fact, template) for template in range(len(bare.frames))] for fact in drawn}
    kept: list[int] = []
    for template, frame in enumerate(bare.frames):
        bad = [case for asked in found.values() if isinstance(case := asked[template], str)]
        if 2 * len(bad) > len(drawn):
            left.append(
                LeftOut(id=f"{bare.name} / {frame}", reason="the template cannot be read as meant", detail=listed(bad))
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
