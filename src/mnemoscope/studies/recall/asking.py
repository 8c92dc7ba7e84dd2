"""Facts as one model reads them, asked alike by everything downstream: bare, behind demonstrations, and in pairs to exchange.

What can be asked is found in `screening`, how one fact is asked in `question`.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from mnemoscope.data.leftout import LeftOut
from mnemoscope.data.relation import Fact, draw_shots
from mnemoscope.errors import DataError, listed
from mnemoscope.model.lm import LM
from mnemoscope.results.job import canonical, seed_of
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.question import HALVES, Ask, Asked, ask
from mnemoscope.studies.recall.screening import screened


def asked(lm: LM, config: Config) -> tuple[tuple[Asked, ...], tuple[LeftOut, ...]]:
    """Every relation that this model can be asked, and what was left out. Found once per model and configuration.

    Raises DataError listing everything that was left out where no relation remains, UnsupportedError without a tokenizer.
    """
    return lm.once(f"recall: facts {canonical(asdict(config))}", lambda: screened(lm, config))


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
    return shown if isinstance(shown, str) else ask(lm, one, fact, template, shown)


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
