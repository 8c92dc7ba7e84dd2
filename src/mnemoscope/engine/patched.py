"""The identities of patching: a patch by a run's own value changes nothing, and a descent is the slow path."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mnemoscope.axes import SITES
from mnemoscope.engine.identities import Line, Setting, some_layers
from mnemoscope.engine.plan import Cell, Patch
from mnemoscope.engine.site import ATTENTION_SITES, site_reason
from mnemoscope.engine.sources import site_heads
from mnemoscope.engine.sweep import sweep_cells
from mnemoscope.engine.tolerance import tolerance
from mnemoscope.engine.verify import Verification
from mnemoscope.errors import MnemoscopeError, UnsupportedError, listed
from mnemoscope.model.lm import LM

TOKEN = 1  # whose logit is read; any would do
HEADS = 4  # heads per layer that are patched


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One plan, carried out: how, and the largest effect of the patches by the run's own values. In logits."""

    verification: Verification
    own: float


def slow(asked: Setting) -> Iterator[Line]:
    """Whole forward passes with a patch by the run's own values: no effect."""
    sites = _cells(asked.lm)
    own = [_own(cell) for cells in sites.values() for cell in cells[:1]]
    if not own:
        raise UnsupportedError("no site can be patched", found="it has no site that can be patched")
    error = _carried_out(asked, own, path="slow").own
    allowed = _allowed(asked, asked.allowed)
    yield Line(identity="slow path: self-patch = no patch", error=error, allowed=allowed, unit="logits")
    missing = [site for site in ATTENTION_SITES if site not in sites and site != "pattern"]
    if missing:
        reason = site_reason(asked.lm, missing[0], 0)
        raise UnsupportedError("not every site can be patched", found=f"no {', '.join(missing)}: {reason}")


def fast(asked: Setting) -> Iterator[Line]:
    """Descents: control rows are the base run, rows are those of the slow path, self-patches have no effect."""
    sites = _cells(asked.lm)
    together = _or_reason(asked, [cell for cells in sites.values() for cell in cells])
    if isinstance(together, Outcome):
        yield from _lines(together, asked)
        return
    alone = {site: _or_reason(asked, cells) for site, cells in sites.items()}
    for outcome in alone.values():
        if isinstance(outcome, Outcome):
            yield from _lines(outcome, asked)
    refused = {site: outcome for site, outcome in alone.items() if isinstance(outcome, str)}
    reasons = dict.fromkeys(refused.values())
    if not refused or len(refused) == len(sites):
        raise UnsupportedError("no descent", found=listed(reasons) or together)
    named = ((", ".join(site for site in refused if refused[site] == reason), reason) for reason in reasons)
    raise UnsupportedError("not every site takes the fast path", found=listed(f"{s}: {r}" for s, r in named))


def _cells(lm: LM) -> dict[str, list[Cell]]:
    """Per site, patches of some heads of some layers. Patterns, rows over another prompt's tokens, are not exchanged."""
    heads = site_heads(lm)
    found: dict[str, list[Cell]] = {}
    for site in SITES:
        for layer in some_layers(lm):
            if site == "pattern" or site_reason(lm, site, layer):
                continue
            n = heads.get((site, layer))
            some: Sequence[int | None] = (
                (None,) if n is None else np.unique(np.linspace(0, n - 1, HEADS).round()).tolist()
            )
            found.setdefault(site, []).extend(
                (Patch(site=site, layer=layer, head=None if head is None else int(head)),) for head in some
            )
    return found


def _own(cell: Cell) -> Cell:
    """The same patch from the base run itself, the second source."""
    return tuple(replace(patch, source=1) for patch in cell)


def _or_reason(asked: Setting, cells: Sequence[Cell]) -> Outcome | str:
    """What came of a descent with these cells, and with their own values; or why it was none."""
    try:
        outcome = _carried_out(asked, [*cells, *map(_own, cells)], path="auto")
    except MnemoscopeError as error:
        return error.found or error.asked
    except Exception as error:  # whatever a foreign model raises is a reason, never the end of a check
        return f"{type(error).__name__}: {error}"
    return outcome if outcome.verification.path == "fast" else outcome.verification.reason


def _carried_out(asked: Setting, cells: Sequence[Cell], *, path: str) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fall-back to the slow path is a verdict here, not a warning
        found = sweep_cells(asked.lm, asked.base, cells, sources=(asked.source, asked.base), tokens=TOKEN, path=path)
    own = [i for i, cell in enumerate(cells) if cell[0].source == 1]
    return Outcome(verification=found.verification, own=float(np.abs(found.effects[own]).max()))


def _lines(outcome: Outcome, asked: Setting) -> Iterator[Line]:
    measured: Mapping[str, float] = {
        "descent = slow path": outcome.verification.largest,
        "unpatched row of a descent = base run": outcome.verification.control,
        "descent: self-patch = no patch": outcome.own,
    }
    for identity, error in measured.items():
        yield Line(
            identity=identity, error=error, allowed=_allowed(asked, outcome.verification.tolerance), unit="logits"
        )


def _allowed(asked: Setting, given: float) -> float:
    """The tolerance, but never below float32's: attention weights are computed in it, whatever the model's type."""
    return max(given, tolerance(0.0, torch.float32, asked.scale)) if asked.lm.dtype == torch.float64 else given
