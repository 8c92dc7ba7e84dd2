"""What planted fact circuits are asked: topics, relations, answers, and the prompts that ask them; see `recall`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mnemoscope.data.prompt import Prompt
from mnemoscope.data.relation import Fact, Relation, prompt
from mnemoscope.reference.planting.words import made_up

MARKS = ("the", "of", "is", ".", ",")
FRAMES = (
    "{b} {f} the {r} of {t} {g} {f} is",
    "{f} {b} , the {r} of {t} {f} {g} is",
    "of {b} {f} {g} , the {r} of {t} {f} {g} {f} is",
    "{b} {g} {f} {g} the {r} {f} of {t} {f} , is",
    "{g} of {b} the {r} of {t} , {f} is",
)
FILLERS = 4


@dataclass(frozen=True, kw_only=True)
class World:
    """Words and what goes with what: answers[relation][topic]; one bystander per template."""

    topics: tuple[str, ...]
    bystanders: tuple[str, ...]
    fillers: tuple[str, ...]
    words: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]

    def asked(self) -> list[tuple[str, str, str]]:
        """(relation word, topic, answer) of every fact."""
        return [
            (w, t, a)
            for w, row in zip(self.words, self.answers, strict=True)
            for t, a in zip(self.topics, row, strict=True)
        ]


def world_of(topics: int, relations: int, templates: int, rng: np.random.Generator) -> World:
    """Made-up words, all distinct."""
    n, r, b, f = topics, relations, templates, FILLERS
    words = made_up(n + r + b + f + n * r, rng=rng)
    answers = words[n + r + b + f :]
    return World(
        topics=words[:n],
        words=words[n : n + r],
        bystanders=words[n + r : n + r + b],
        fillers=words[n + r + b : n + r + b + f],
        answers=tuple(answers[i * n : (i + 1) * n] for i in range(r)),
    )


def tagged(world: World) -> dict[str, dict[str, float]]:
    """Every word with the features that its embedding has beside its identity."""
    words: dict[str, dict[str, float]] = {w: {"tag/topic": 1.0} for w in world.topics}
    words |= {w: {"tag/bystander": 1.0} for w in world.bystanders}
    words |= {w: {"tag/relation": 1.0} for w in world.words}
    words |= {w: {} for w in (*world.fillers, *MARKS)}
    words["is"] = {"tag/end": 1.0}
    return words | {a: {} for row in world.answers for a in row}


def relations_of(world: World, rng: np.random.Generator) -> tuple[Relation, ...]:
    """One relation per relation word, in one frame per bystander."""
    made: list[Relation] = []
    for word, answers in zip(world.words, world.answers, strict=True):
        f, g = (str(x) for x in rng.choice(list(world.fillers), size=2, replace=False))
        templates = tuple(
            FRAMES[i % len(FRAMES)].format(b=bystander, f=f, g=g, r=word, t="{topic}")
            for i, bystander in enumerate(world.bystanders)
        )
        facts = tuple(Fact(topic=t, answer=a) for t, a in zip(world.topics, answers, strict=True))
        made.append(Relation(name=word, noun=word, templates=templates, facts=facts, kind="planted"))
    return tuple(made)


def prompts_of(relations: tuple[Relation, ...]) -> tuple[Prompt, ...]:
    """Every fact in every template."""
    return tuple(prompt(r, fact, template) for r in relations for template in r.templates for fact in r.facts)


def told(world: World, relations: tuple[Relation, ...]) -> Mapping[str, object]:
    """The world as it goes into the truth."""
    return {
        "relations": {
            r.name: {"noun": r.noun, "templates": list(r.templates), "facts": [[f.topic, f.answer] for f in r.facts]}
            for r in relations
        },
        "topics": list(world.topics),
        "bystanders": list(world.bystanders),
    }
