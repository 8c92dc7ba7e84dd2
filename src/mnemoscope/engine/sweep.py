"""`ms.sweep`: one number per place of a model, each the effect of changing the model there.

    effect = metric of the patched run - metric of the unpatched run,

both of the same prompt, in the units of the metric (`mnemoscope.engine.metric`). A sweep is a grid of patches; any other
set of patches, several of them in one run included, goes through `sweep_cells`. Both are computed in descents
(`mnemoscope.engine.descent`) that are verified as they run (`mnemoscope.engine.verify`), or else the slow way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.axes import OPS, SITES
from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.chunks import budget_bytes
from mnemoscope.engine.execute import Chunk, OnChunk, Progress, Task, execute
from mnemoscope.engine.metric import Tokens, question
from mnemoscope.engine.plan import Cell, Position, grid, head_axis, refuse_absent, refuse_malformed, refuse_unequal
from mnemoscope.engine.site import site_reason
from mnemoscope.engine.sources import site_heads
from mnemoscope.engine.verify import Verification
from mnemoscope.errors import OptionError, PromptError, UnsupportedError, choose
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.lm import LM

Prompts = Sequence[str] | Sequence[Prompt] | Int[Tensor, "prompt pos"] | Batch


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """Effects with named axes.

    effects       float64; axes as named: layer[, head | kv_head][, position], prompt[, token]; nan where the place does
                  not exist in a prompt (a position behind its end)
    coordinates   axis -> the layers, heads, positions, prompts, tokens that were asked for
    base          the metric of the unpatched runs [prompt[, token]]
    verification  how the numbers were computed and checked
    """

    effects: Float[np.ndarray, "..."]
    axes: tuple[str, ...]
    coordinates: Mapping[str, tuple[int, ...]]
    base: Float[np.ndarray, "prompt *token"]
    verification: Verification
    site: str
    op: str
    metric: str

    def __repr__(self) -> str:
        shape = ", ".join(f"{axis} {size}" for axis, size in zip(self.axes, self.effects.shape, strict=True))
        seen = self.effects[~np.isnan(self.effects)]
        found = f"from {seen.min():.3g} to {seen.max():.3g}" if seen.size else "none defined"
        return f"<Sweep of {self.site}, {self.op}: effects on {self.metric} [{shape}], {found}; {self.verification}>"

    def to_polars(self) -> pl.DataFrame:
        """One row per number: a column per axis, and `effect`."""
        places = np.meshgrid(*(np.array(self.coordinates[axis]) for axis in self.axes), indexing="ij")
        columns = {axis: place.ravel() for axis, place in zip(self.axes, places, strict=True)}
        return pl.DataFrame({**columns, "effect": self.effects.ravel()})


def sweep(
    lm: LM,
    base: Prompts,
    source: Prompts | None = None,
    *,
    site: str,
    op: str = "replace",
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
    positions: Position = "last",
    readout: Position = "last",
    tokens: Tokens = None,
    foils: Tokens = None,
    metric: str = "logit",
    value: Tensor | float | None = None,
    keys: Position | None = None,
    align: str | None = None,
    path: str = "auto",
    budget: str | int = "1GiB",
    done: Mapping[str, Chunk] | None = None,
    on_chunk: OnChunk | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """The effect of one op at every (layer, head, position) of a site, on every prompt.

    op        replace: by the value in the source prompt of the same index; mean: by the mean over all source prompts
              (over the base prompts if there is no source) at the corresponding position; zero; add: `value` [d],
              [layer, d] or [layer, head, d]; scale: times the number `value`
    positions "last", a role, one position or a tuple of them, "all": one joint change; "each": one effect per position
    readout   where the metric is read (averaged, if these are several positions)
    tokens    one for all prompts, one per prompt, or [prompt, token] (an axis "token" then ends the effects); strings
              stand for single tokens; None: the answers of the prompts. foils likewise
    metric    logit, logit_diff, logit_minus_mean, logprob, loss (see `mnemoscope.engine.metric`); the last two need
              complete vocabulary rows. loss without tokens: mean over the positions read of the prompt's own next tokens
    keys      of the site pattern: the columns that zero and scale act on; `positions` are the queries
    align     "last": the last token of roles whose token counts differ
    path      "auto", or "slow": whole forward passes only
    budget    bytes that chunks of prompts and rows are cut to
    done, on_chunk  finished chunks by name, and who is told of a new one: a sweep that was interrupted goes on
    Heads count kv heads for k and v. Layers without the site are left out, or refused if asked for by number.
    """
    choose("site", site, SITES)
    choose("op", op, OPS)
    into = as_batch(lm, base)
    refuse_absent(into, positions)
    out_of = into if source is None and op == "mean" else None if source is None else as_batch(lm, source)
    if out_of is not None and op == "replace":
        _refuse_unpaired(into, out_of, "all" if site == "pattern" else positions)
    plan = grid(
        site,
        layers=_layers(lm, site, layers),
        heads=_heads(lm, site, heads),
        positions=positions,
        n_positions=int(into.lengths.max()),
        op=op,
        value=value,
        keys=keys,
    )
    task = Task(
        lm=lm,
        base=into,
        sources=() if out_of is None else (out_of,),
        asked=question(lm, into, metric=metric, tokens=tokens, foils=foils, readout=readout, align=align),
        budget=budget_bytes(budget),
        align=align,
        done=done,
        on_chunk=on_chunk,
        progress=progress,
    )
    found = _answer(task, plan.cells, path)
    return _shaped(found, plan.axes, plan.coordinates, task, site=site, op=op, absent=positions == "each")


def sweep_cells(
    lm: LM,
    base: Prompts,
    cells: Sequence[Cell],
    *,
    sources: Sequence[Prompts] = (),
    readout: Position = "last",
    tokens: Tokens = None,
    foils: Tokens = None,
    metric: str = "logit",
    align: str | None = None,
    path: str = "auto",
    budget: str | int = "1GiB",
    done: Mapping[str, Chunk] | None = None,
    on_chunk: OnChunk | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """The joint effect of every cell (a tuple of `Patch`) on every prompt: axes cell, prompt[, token].

    `Patch.source` counts `sources`; prompts of a source correspond to the base prompts by index. The other arguments
    are those of `sweep`.
    """
    into = as_batch(lm, base)
    task = Task(
        lm=lm,
        base=into,
        sources=tuple(as_batch(lm, source) for source in sources),
        asked=question(lm, into, metric=metric, tokens=tokens, foils=foils, readout=readout, align=align),
        budget=budget_bytes(budget),
        align=align,
        done=done,
        on_chunk=on_chunk,
        progress=progress,
    )
    for cell in cells:
        for patch in cell:
            refuse_absent(into, patch.position)
            if patch.spot[1] >= 0 and patch.spot[1] < len(task.sources):
                _refuse_unpaired(
                    into, task.sources[patch.spot[1]], "all" if patch.site == "pattern" else patch.position
                )
    found = _answer(task, cells, path)
    sites = ", ".join(dict.fromkeys(patch.site for cell in cells for patch in cell))
    ops = ", ".join(dict.fromkeys(patch.op for cell in cells for patch in cell))
    return _shaped(found, ("cell",), {"cell": tuple(range(len(cells)))}, task, site=sites, op=ops, absent=False)


def _answer(task: Task, cells: Sequence[Cell], path: str):
    lm = task.lm
    choose("path", path, ("auto", "slow"))
    patches = [patch for cell in cells for patch in cell]
    if not cells or any(not cell for cell in cells):
        raise OptionError("there is nothing to patch", found="no cells, or an empty one", allowed="at least one patch")
    n_heads = {site: n for (site, _), n in site_heads(lm).items()}
    refuse_malformed(patches, lm.n_layers, n_heads, len(task.sources))
    for site, layer in dict.fromkeys((patch.site, patch.layer) for patch in patches):
        reason = site_reason(lm, site, layer)
        if reason:
            raise UnsupportedError(f"{site} of layer {layer} of {lm.name} cannot be patched", found=reason)
    return execute(task, cells, path=path)


def _shaped(found, axes, coordinates, task: Task, *, site: str, op: str, absent: bool) -> Sweep:
    n_prompts, n_tokens = found.base.shape
    shape = [len(coordinates[axis]) for axis in axes]
    effects = found.effects.reshape(*shape, n_prompts, n_tokens)
    if absent:
        lengths = task.base.lengths.cpu().numpy()
        behind = np.array(coordinates["position"])[:, None] >= lengths[None]
        effects = np.where(behind[..., None], np.nan, effects)
    single = task.asked.single
    names = (*axes, "prompt") if single else (*axes, "prompt", "token")
    where = {**coordinates, "prompt": tuple(range(n_prompts))}
    if not single:
        where["token"] = tuple(range(n_tokens))
    return Sweep(
        effects=effects[..., 0] if single else effects,
        axes=names,
        coordinates=where,
        base=found.base[..., 0] if single else found.base,
        verification=found.verification,
        site=site,
        op=op,
        metric=task.asked.metric,
    )


def _layers(lm: LM, site: str, layers: Sequence[int] | None) -> tuple[int, ...]:
    """The layers asked for, or all that have the site."""
    if layers is not None:
        return tuple(int(layer) for layer in layers)
    found = tuple(layer for layer in range(lm.n_layers) if not site_reason(lm, site, layer))
    if not found:
        raise UnsupportedError(f"no layer of {lm.name} has {site}", found=site_reason(lm, site, 0))
    return found


def _heads(lm: LM, site: str, heads: Sequence[int] | None) -> tuple[int, ...] | None:
    if head_axis(site) is None:
        return None if heads is None else tuple(heads)
    return (
        tuple(range(lm.n_kv_heads if head_axis(site) == "kv_head" else lm.n_heads)) if heads is None else tuple(heads)
    )


def as_batch(lm: LM, prompts: Prompts) -> Batch:
    """Prompts as a right-padded batch."""
    if not isinstance(prompts, Batch):
        return tokenize(lm, prompts)
    if prompts.padded and prompts.side != "right":
        raise PromptError(
            "a sweep reads right-padded batches", found=f"{prompts.side} padding", hint="give the prompts"
        )
    return prompts


def _refuse_unpaired(base: Batch, source: Batch, positions: Position) -> None:
    if len(base) != len(source):
        raise PromptError(
            "every base prompt needs its source prompt",
            found=f"{len(base)} base and {len(source)} source prompts",
            allowed="equally many, in the same order",
        )
    refuse_unequal(base, source, positions)
