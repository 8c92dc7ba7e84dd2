"""Recording: what the unmodified model computed, at the sites, layers and positions that were asked for.

The seams only look on: the model's own functions are called with the model's own arguments. What is asked for is copied
out at the chosen columns and nothing else is kept; `record` hands each layer over when its block ends, so that a measure
may consume and free it. Attention rows are computed in float32 from the recorded q, k and mask for the chosen queries
only, and proven: rows times v must be the model's z.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mnemoscope.axes import SITES
from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.rows import PatternRows, gathered, pattern_rows, proven_rows
from mnemoscope.engine.site import ATTENTION_SITES, site_reason
from mnemoscope.engine.writers import WRITER_SITES, writer_seam
from mnemoscope.errors import OptionError, UnsupportedError, choose, listed
from mnemoscope.model.batch import Batch, forward_inputs, tokenize
from mnemoscope.model.lm import LM
from mnemoscope.model.parts import block_parts
from mnemoscope.model.positions import positions as columns_of
from mnemoscope.model.seams import AttentionCall, BlockCall, attention_seam, block_seam, module_seam
from mnemoscope.model.structure import text_decoder

LOGITS = ("none", "last", "positions", "all")
LayerSites = Mapping[str, Tensor]  # site -> [batch pos ...] of one layer


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """What one forward pass left at the sites that were asked for.

    batch: the prompts. columns: the recorded columns of the batch, [batch pos]. values: (site, layer) -> tensor with
    leading axes [batch pos]: stream sites [.. d_model], z [.. head d_head], q [.. head d_head], k and v
    [.. kv_head d_head], pattern [.. head key] (pos are the queries; rows may sum to < 1 beside a sink). logits:
    [batch pos d_vocab] as the model gives them, or None. Padding, if "all" was asked for, is recorded too: see `mask`.
    """

    batch: Batch
    columns: Int[Tensor, "batch pos"]
    values: Mapping[tuple[str, int], Tensor]
    logits: Float[Tensor, "batch pos_read d_vocab"] | None = None

    def __repr__(self) -> str:
        sites = [f"{site} [layer {len(self.layers(site))}]" for site in dict.fromkeys(site for site, _ in self.values)]
        prompts, positions = self.columns.shape
        return f"<Trace [batch {prompts}, pos {positions}]: {', '.join(sites) or 'no site'}>"

    @property
    def mask(self) -> Bool[Tensor, "batch pos"]:
        """Which of the recorded columns are tokens of the prompt."""
        return self.batch.mask.gather(1, self.columns)

    def layers(self, site: str) -> tuple[int, ...]:
        """Layers at which a site was recorded."""
        return tuple(layer for name, layer in self.values if name == site)

    def at(self, site: str, layer: int) -> Tensor:
        """One site of one layer, [batch pos ...]."""
        if (site, layer) not in self.values:
            raise OptionError(
                f"{site} of layer {layer} was not recorded",
                found=listed(
                    f"{name} at layers {self.layers(name)}" for name in dict.fromkeys(n for n, _ in self.values)
                ),
                hint=f"ask for it: trace(..., sites=({site!r},), layers=({layer},))",
            )
        return self.values[site, layer]

    def __getitem__(self, site: str) -> Tensor:
        """A site at all its recorded layers, [layer batch pos ...], in the order of `layers(site)`."""
        layers = self.layers(site)
        if not layers:
            self.at(choose("site", site, SITES), 0)
        found = [self.values[site, layer] for layer in layers]
        if len({value.shape for value in found}) > 1:
            raise OptionError(
                f"{site} has another shape in every layer", hint="take them one by one: trace.at(site, l)"
            )
        return torch.stack(found)


def trace(
    lm: LM,
    prompts: Sequence[str] | Sequence[Prompt] | Int[Tensor, "batch pos"] | Batch,
    sites: Sequence[str] = ("resid_post",),
    positions: str = "last",
    layers: Sequence[int] | None = None,
    *,
    logits: str = "none",
    align: str = "equal",
) -> Trace:
    """Run prompts once and keep what is asked for.

    sites: see `mnemoscope.axes.SITES`; attn_out and mlp_out are what is added to the stream (after post-norm, multiplier
    and gate), q and k are after norm and rotary, z is before any gate. positions: "last", "all", or a role (align="last":
    its last token, for roles of unequal length). layers: None takes every layer that has the site. logits: "none" (the
    unembedding is not run), "last" (each prompt's last token), "positions" (the recorded ones) or "all".
    """
    batch = prompts if isinstance(prompts, Batch) else tokenize(lm, prompts)
    columns = trace_columns(batch, positions, align)
    values: dict[tuple[str, int], Tensor] = {}

    def keep(layer: int, found: LayerSites) -> None:
        values.update({(site, layer): value for site, value in found.items()})

    read = record(lm, batch, wanted(lm, sites, layers), columns, keep, logits=logits)
    ordered = sorted(values.items(), key=lambda item: (sites.index(item[0][0]), item[0][1]))
    return Trace(batch=batch, columns=columns, values=dict(ordered), logits=read)


def wanted(lm: LM, sites: Sequence[str], layers: Sequence[int] | None) -> dict[str, tuple[int, ...]]:
    """Site -> layers. Raises for unknown sites and layers, and for a site that no (or no asked-for) layer has."""
    for site in sites:
        choose("site", site, SITES)
    outside = [str(layer) for layer in layers or () if not 0 <= layer < lm.n_layers]
    if outside:
        raise OptionError("unknown layers", found=listed(outside), allowed=f"0 to {lm.n_layers - 1}")
    found: dict[str, tuple[int, ...]] = {}
    for site in dict.fromkeys(sites):
        asked = range(lm.n_layers) if layers is None else layers
        reasons = {layer: site_reason(lm, site, layer) for layer in asked}
        there = tuple(layer for layer, reason in reasons.items() if not reason)
        if not there or (layers is not None and len(there) < len(reasons)):
            missing = [f"layer {layer}: {reason}" for layer, reason in reasons.items() if reason]
            raise UnsupportedError(f"{lm.name} has no {site} to record", found=listed(missing))
        found[site] = there
    return found


@torch.no_grad()
def record(
    lm: LM,
    batch: Batch,
    wants: Mapping[str, Collection[int]],
    columns: Int[Tensor, "batch pos"],
    each: Callable[[int, LayerSites], None],
    *,
    logits: str = "none",
) -> Float[Tensor, "batch pos_read d_vocab"] | None:
    """Run a batch once; `each(layer, {site: [batch pos ...]})` is called when a block ends, and nothing is kept here.

    Returns the logits that were asked for.
    """
    choose("logits", logits, LOGITS)
    keeper = _Keeper(lm=lm, batch=batch, wants=wants, columns=columns, each=each)
    inputs = forward_inputs(lm, batch)
    if any(wants.get(site) for site in WRITER_SITES):
        block_parts(lm)  # a discovery runs the model: never inside our own seams
    with ExitStack() as stack:
        stack.enter_context(block_seam(lm.blocks, before=keeper.before, after=keeper.after))
        if any(wants.get(site) for site in ATTENTION_SITES):
            stack.enter_context(attention_seam(lm.attention_layers, keeper.attend))
        if any(wants.get(site) for site in WRITER_SITES):
            stack.enter_context(writer_seam(lm, wants, keeper.written, lambda: keeper.stream))
        if logits == "none":
            text_decoder(lm.model)(**inputs, use_cache=False)
            return None
        if logits != "all":
            read = columns if logits == "positions" else batch.last[:, None]
            stack.enter_context(unembedding_at(lm, read))
        return lm.model(**inputs, use_cache=False).logits


def unembedding_at(lm: LM, columns: Int[Tensor, "batch pos"]) -> Any:
    """While it lasts the model unembeds only these columns; what it does with logits afterwards (soft-cap) stays its own."""
    head = lm.model.get_output_embeddings()
    if head is None:
        raise UnsupportedError(f"{lm.name} has no unembedding module", found="get_output_embeddings() is None")

    def before(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (gathered(args[0], columns), *args[1:]), dict(kwargs)

    return module_seam({"unembedding": head}, before=before)


@dataclass(kw_only=True, eq=False)
class _Keeper:
    """The callbacks of one recording; holds one layer at a time."""

    lm: LM
    batch: Batch
    wants: Mapping[str, Collection[int]]
    columns: Tensor
    each: Callable[[int, LayerSites], None]

    def __post_init__(self) -> None:
        self.stream = self.columns  # replaced by the first block's stream
        self.found: dict[str, Tensor] = {}

    def keep(self, site: str, layer: int, value: Callable[[], Tensor]) -> None:
        if layer in self.wants.get(site, ()):
            self.found[site] = value()

    def before(self, call: BlockCall) -> None:
        self.stream, self.found = call.resid, {}
        self.keep("resid_pre", call.layer, lambda: gathered(call.resid, self.columns))

    def after(self, layer: int, stream: Tensor) -> None:
        self.keep("resid_post", layer, lambda: gathered(stream, self.columns))
        if self.found:
            self.each(layer, self.found)
        self.found = {}

    def written(self, site: str, layer: int, value: Tensor) -> None:
        self.keep(site, layer, lambda: gathered(value, self.columns))

    def attend(self, call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        def heads(value: Tensor) -> Tensor:
            return gathered(rearrange(value, "batch head pos d -> batch pos head d"), self.columns)

        z, pattern = call()
        self.keep("q", call.layer, lambda: heads(call.query))
        self.keep("k", call.layer, lambda: heads(call.key))
        self.keep("v", call.layer, lambda: heads(call.value))
        self.keep("z", call.layer, lambda: gathered(z, self.columns))
        self.keep("pattern", call.layer, lambda: proven_rows(self.lm, call.layer, self.rows(call, z)))
        return z, pattern

    def rows(self, call: AttentionCall, z: Tensor) -> PatternRows:
        return pattern_rows(call, z, self.columns, self.batch.mask)


def trace_columns(batch: Batch, positions: str, align: str) -> Int[Tensor, "batch pos"]:
    """The columns that a position mode means, as a rectangle; "all" includes padding."""
    if positions == "all":
        width = batch.ids.shape[1]
        return torch.arange(width, device=batch.ids.device).expand(len(batch), width)
    if positions == "each":
        raise OptionError("a trace has no position mode 'each'", allowed="last, all, or a role", hint='positions="all"')
    return columns_of(batch, positions, align=align)
