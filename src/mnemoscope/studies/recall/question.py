"""One fact as one model reads it: a prompt, where its topic stands, and which token has to come next.

The answer token is the first token at which the answers of a relation differ; what they share before it is written behind the
prompt. A topic of several tokens is where its last token stands (methods.md P2.1, B6).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mnemoscope.data.prompt import Prompt, Span
from mnemoscope.data.relation import Fact, Relation, prompt
from mnemoscope.model.align import token_range
from mnemoscope.model.encode import Encoding, encode
from mnemoscope.model.lm import LM

HALVES = ("a", "b")
LONGEST = 60  # characters of a template's beginning and end that are quoted


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A template, maybe behind an opener."""

    template: str
    opener: str = ""

    def __str__(self) -> str:
        return f"{self.opener} {self.template}".strip()

    @property
    def quoted(self) -> str:
        """For messages: long ones show how they begin and end."""
        whole = str(self)
        return whole if len(whole) <= 2 * LONGEST else f"{whole[:LONGEST]} ... {whole[-LONGEST:]}"


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


def ask(lm: LM, one: Asked, fact: Fact, template: int, shots: tuple[Fact, ...] = ()) -> Ask | str:
    """The fact as a prompt, or why it cannot be asked so."""
    frame = one.frames[template]
    made = prompt(one.relation, fact, frame.template, shots=shots, opener=frame.opener)
    made = replace(made, text=made.text + one.shared, answer=made.answer.removeprefix(one.shared))
    encoding = encode(lm.tokenizer, made.text, lm.bos)
    if lm.n_ctx and len(encoding.ids) > lm.n_ctx:
        return f"topic {fact.topic!r} in {frame.quoted!r}: {len(encoding.ids)} tokens, the context has {lm.n_ctx}"
    span = token_range(made.text, encoding.offsets or (), made.spans["topic"][-1])
    if isinstance(span, str):
        return f"topic {fact.topic!r} in {frame.quoted!r} is no whole number of tokens: {span}"
    made = replace(made, spans=_aligned(made, encoding))
    following = continuation(lm, encoding, made)
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


def _aligned(made: Prompt, encoding: Encoding) -> dict[str, tuple[Span, ...]]:
    """Roles that are whole tokens. A demonstration may be merged with its template: it is only text, and its roles go."""
    offsets = encoding.offsets or ()
    return {
        role: spans
        for role, spans in made.spans.items()
        if not any(isinstance(token_range(made.text, offsets, span), str) for span in spans)
    }


def continuation(lm: LM, before: Encoding, made: Prompt) -> tuple[int, ...]:
    """Tokens that the answer adds to its prompt; () if the prompt does not keep its own."""
    after = encode(lm.tokenizer, made.text + made.answer, lm.bos).ids
    n = len(before.ids)
    return after[n:] if after[:n] == before.ids else ()
