"""What a kind hands over: a circuit, what each part of it is, and texts to read with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mnemoscope.data.document import Corpus
from mnemoscope.data.prompt import Prompt
from mnemoscope.data.relation import Relation
from mnemoscope.reference.planting.parts import Circuit
from mnemoscope.reference.planting.truth import Json, Signature


@dataclass(frozen=True, kw_only=True)
class Role:
    """What every head or MLP part of one kind does, and who must see it."""

    attends: str = ""
    writes: str = ""
    signature: Signature = field(default_factory=Signature)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A kind, worked out for its sizes.

    roles      kind of head or MLP part -> its role
    facts      what only this kind knows; goes into the truth
    realised   further facts that depend on the noise, from the circuit with noise
    """

    circuit: Circuit
    roles: Mapping[str, Role]
    facts: Mapping[str, Json]
    prompts: tuple[Prompt, ...]
    corpus: Corpus | None = None
    relations: tuple[Relation, ...] = ()
    n_heads: int | None = None
    realised: Callable[[Circuit], Mapping[str, Json]] = field(default=lambda _: {})


@dataclass(frozen=True, kw_only=True)
class Dice:
    """Independent generators, so that one choice never moves another: words, circuit, texts, distractors, layout, noise."""

    words: np.random.Generator
    circuit: np.random.Generator
    texts: np.random.Generator
    distractors: np.random.Generator
    layout: np.random.Generator
    noise: np.random.Generator


def dice(seed: int) -> Dice:
    """Six generators from one seed."""
    children = np.random.SeedSequence(seed).spawn(6)
    return Dice(
        **{name: np.random.default_rng(child) for name, child in zip(Dice.__annotations__, children, strict=True)}
    )
