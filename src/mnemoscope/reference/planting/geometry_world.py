"""The made-up people of a planted geometry, and the prompts that ask about them."""

from dataclasses import dataclass

import numpy as np

from mnemoscope.data.prompt import Prompt, joined
from mnemoscope.reference.planting.words import made_up

N_STRANGERS = 3  # names and activities that occur in examples only


@dataclass(frozen=True, kw_only=True)
class World:
    """Names and activities of items, and of the strangers in examples."""

    names: tuple[str, ...]
    activities: tuple[str, ...]
    strangers: tuple[str, ...]
    pastimes: tuple[str, ...]


def world_of(n: int, rng: np.random.Generator) -> World:
    """`n` names and as many activities, and the strangers'."""
    words = made_up(2 * n + 2 * N_STRANGERS, rng=rng)
    return World(
        names=words[:n],
        activities=words[n : 2 * n],
        strangers=words[2 * n : -N_STRANGERS],
        pastimes=words[-N_STRANGERS:],
    )


def prompts_of(
    world: World, sentences: int, draws: int, items: list[tuple[int, int, int]], *, rng: np.random.Generator
) -> tuple[Prompt, ...]:
    """Every item `draws` times, without and with an example; items are (name, activity, cluster)."""
    return tuple(
        prompt for item in items for draw in range(draws) for prompt in _pair(world, sentences, item, draw, rng)
    )


def _pair(
    world: World, sentences: int, item: tuple[int, int, int], draw: int, rng: np.random.Generator
) -> tuple[Prompt, Prompt]:
    """The same passage without and with an example."""
    i, j, cluster = item
    others = [
        [int(x) for x in rng.permutation([y for y in range(len(world.names)) if y != own])[: sentences - 1]]
        for own in (i, j)
    ]
    told = [("distractor", world.names[a], world.activities[b]) for a, b in zip(*others, strict=True)]
    place = int(rng.integers(sentences))
    told.insert(place, ("relevant", world.names[i], world.activities[j]))
    passage = [piece for role, name, activity in told for piece in ((role, f"{name} {activity} ."), " ")]
    question = ["ask ", ("asked", world.names[i]), " ", ("query", "?")]
    order = rng.permutation(N_STRANGERS)
    example = " ".join(f"{world.strangers[a]} {world.pastimes[a]} ." for a in order)
    example += f" ask {world.strangers[order[0]]} ? {world.pastimes[order[0]]} ;"
    labels = {
        "item": f"{world.names[i]}/{world.activities[j]}",
        "name": world.names[i],
        "activity": world.activities[j],
        "cluster": cluster,
        "draw": draw,
        "distractors": sentences - 1,
        "place": place,
    }
    said = {
        "answer": f" {world.activities[j]}",
        "foils": tuple(f" {a}" for _, _, a in told if a != world.activities[j]),
    }
    return (
        joined([*passage, *question], labels={**labels, "example": False}, **said),
        joined([("example", example), " ", *passage, *question], labels={**labels, "example": True}, **said),
    )
