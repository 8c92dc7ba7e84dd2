"""The MLP as an activation over what heads bring: who is amplified, who is erased (Lv et al. 2024, arXiv 2403.19521, P2.3-2.4).

Heads enter the stream with weight 1 each. The MLP that reads the stream x answers m(x); if along a head's output it answers
w times that output, the head counts 1 + w behind the layer. Two readings of w stand side by side (methods.md B6.5): the
coefficient of a linear regression of m on the parts of x (`mnemoscope.stats.regression`; describes), and the causal weight

    e_c = sum_n <m(x_n) - m(x_n - d_cn), d_cn> / sum_n |d_cn|^2          d_cn = a_cn - mean of a_c over the group of n

for which the MLP is really asked at the stream without what is particular about the part. Groups are the scope: all prompts
of the relation ("pooled"), or those of one topic ("within"). e = -1: what the head brings is erased; 0: left as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.component import Heads
from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.feed import mlp_input, mlp_outputs, mlp_reason
from mnemoscope.engine.record import record
from mnemoscope.errors import UnsupportedError, VerificationError
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM
from mnemoscope.model.parts import block_parts

STEP = 0.1  # of a part's deviation, for the central difference of the Jacobian
QUIET = 1e-4  # a part whose deviations are smaller than this share of the stream does not vary, up to rounding
SILENT = 1e-3  # |d along the rows| as a share of |d| |rows|: below, a part says nothing there
AGREE = 1e-4  # |m asked - m recorded| / |m recorded|: an MLP that mixes positions fails this

Head = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What one MLP reads and answers at the last position of every prompt.

    heads: the listed heads, all of which it can see; parts [component prompt d_model]: their outputs, then the remainder, so that
    the parts sum to `stream`; output: what the MLP adds to the stream.
    """

    layer: int
    heads: tuple[Head, ...]
    parts: Float[Tensor, "component prompt d_model"]
    stream: Float[Tensor, "prompt d_model"]
    output: Float[Tensor, "prompt d_model"]

    @property
    def names(self) -> tuple[str, ...]:
        """L2H5 ..., remainder."""
        return (*(f"L{layer}H{head}" for layer, head in self.heads), "remainder")


def visible(lm: LM, layer: int) -> range:
    """Layers whose heads the MLP of a layer can see: up to its own, or the earlier ones where the block is parallel."""
    return range(layer if block_parts(lm)[layer].parallel else layer + 1)


def askable(lm: LM) -> tuple[int, ...]:
    """Layers with an MLP that can be asked and some head before it."""
    return tuple(layer for layer in range(lm.n_layers) if not mlp_reason(lm, layer) and len(visible(lm, layer)))


@torch.no_grad()
def readings(lm: LM, batch: Batch, layers: Sequence[int], heads: Sequence[Head]) -> dict[int, Reading]:
    """Layer -> what its MLP reads and answers; of `heads` those that it can see are listed.

    Raises UnsupportedError for layers that cannot be asked, or heads that are not told apart.
    """
    bad = [f"layer {layer}: {mlp_reason(lm, layer) or 'sees no head'}" for layer in layers if layer not in askable(lm)]
    if bad:
        raise UnsupportedError(f"MLPs of {lm.name} cannot be read", found="; ".join(bad))
    found = decompose(lm, batch, "last")
    outputs = _outputs(lm, found.heads, heads)
    seen: dict[tuple[str, int], Tensor] = {}

    def keep(layer: int, sites: Mapping[str, Tensor]) -> None:
        seen.update({(site, layer): value[:, 0] for site, value in sites.items()})

    wants: dict[str, list[int]] = {"mlp_out": list(layers)}
    for layer in layers:
        wants.setdefault(mlp_input(lm, layer), []).append(layer)
    record(lm, batch, wants, batch.last[:, None], keep)
    return {layer: _reading(lm, layer, outputs, seen) for layer in layers}


def _outputs(lm: LM, found: Sequence[Heads], heads: Sequence[Head]) -> dict[Head, Float[Tensor, "prompt d_model"]]:
    """What each head adds to the stream behind its own block."""
    there = {part.layer: part for part in found}
    absent = sorted({layer for layer, _ in heads} - set(there))
    if absent:
        raise UnsupportedError(f"heads of {lm.name} are not told apart", found=f"layers {absent}")
    outputs: dict[Head, Tensor] = {}
    for layer in dict.fromkeys(layer for layer, _ in heads):
        pushed = there[layer].push()[:, :, 0] / _carried(lm, layer + 1, lm.n_layers)
        outputs |= {(layer, head): pushed[head] for head in dict.fromkeys(h for l, h in heads if l == layer)}
    return outputs


def _carried(lm: LM, first: int, stop: int) -> float:
    return float(prod(part.residual for part in block_parts(lm)[first:stop]))


def _reading(lm: LM, layer: int, outputs: Mapping[Head, Tensor], seen: Mapping[tuple[str, int], Tensor]) -> Reading:
    own = [head for head in outputs if head[0] in visible(lm, layer)]
    stream = seen[mlp_input(lm, layer), layer].float()
    reach = layer if block_parts(lm)[layer].parallel else layer + 1  # blocks whose coefficient the stream has met
    listed = [outputs[head].float() * _carried(lm, head[0] + 1, reach) for head in own]
    remainder = stream - sum(listed) if listed else stream
    return Reading(
        layer=layer,
        heads=tuple(own),
        parts=torch.stack([*listed, remainder]),
        stream=stream,
        output=seen["mlp_out", layer].float(),
    )


@torch.no_grad()
def loudness(lm: LM, batch: Batch, rows: Float[Tensor, "token d_model"]) -> dict[Head, tuple[float, float]]:
    """How much every head's output varies over prompts: root mean square of what is particular per prompt, in the whole
    stream, and along `rows`.

    For listing heads: it looks at what a head brings, never at what the MLP makes of it.
    """
    found = decompose(lm, batch, "last")
    loud: dict[Head, tuple[float, float]] = {}
    for part in found.heads:
        pushed = part.push()[:, :, 0].float()
        varied = pushed - pushed.mean(dim=1, keepdim=True)
        sizes = [value.square().mean(dim=(1, 2)).sqrt().tolist() for value in (varied, varied @ rows.T.float())]
        loud |= {(part.layer, head): (whole, along) for head, (whole, along) in enumerate(zip(*sizes, strict=True))}
    return loud


def listed(loud: Mapping[Head, tuple[float, float]], always: Sequence[Head], most: int) -> tuple[Head, ...]:
    """At most `most` heads to tell apart: those asked for, then in turn the loudest along the answers and the loudest overall."""
    orders = [sorted(loud, key=lambda head: (-loud[head][i], head)) for i in (1, 0)]
    in_turn = [head for pair in zip(*orders, strict=True) for head in pair]
    return tuple(sorted(list(dict.fromkeys([*always, *in_turn]))[: max(most, len(always))]))


def deviations(
    parts: Float[Tensor, "component prompt d_model"], groups: Int[Tensor, " prompt"]
) -> Float[Tensor, "component prompt d_model"]:
    """Parts minus their mean over the prompts of the same group (codes 0, 1, ...)."""
    groups = groups.to(parts.device)
    n = int(groups.max()) + 1
    total = parts.new_zeros(parts.shape[0], n, parts.shape[2]).index_add_(1, groups, parts)
    size = torch.bincount(groups, minlength=n).to(parts)
    return parts - (total / size[:, None])[:, groups]


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """The MLP's answers, per part and prompt: what changes if the part's deviation d is taken away, and the Jacobian's word.

    d, change [component prompt d_model]; varies [component]: whether d is more than rounding. tangent: (J d)_n with J at the
    mean stream; whole: J (x_n - mean x). error: largest relative difference of the MLP asked and the MLP recorded.
    """

    d: Mapping[str, Float[Tensor, "component prompt d_model"]]
    change: Mapping[str, Float[Tensor, "component prompt d_model"]]
    varies: Mapping[str, Float[Tensor, " component"]]
    tangent: Float[Tensor, "component prompt d_model"]
    whole: Float[Tensor, "prompt d_model"]
    error: float


@torch.no_grad()
def asked(lm: LM, found: Mapping[int, Reading], groups: Mapping[str, Int[Tensor, " prompt"]]) -> dict[int, Asked]:
    """Ask every MLP at the streams without each part's deviation, and around the mean stream. groups: scope -> codes.

    Raises VerificationError where the MLP, asked at the recorded streams, does not give the recorded outputs.
    """
    d = {
        layer: {scope: deviations(one.parts, codes) for scope, codes in groups.items()} for layer, one in found.items()
    }
    streams = {layer: _streams(one, d[layer]) for layer, one in found.items()}
    answered = mlp_outputs(lm, {layer: torch.cat(rows).to(lm.dtype) for layer, rows in streams.items()})
    result: dict[int, Asked] = {}
    for layer, one in found.items():
        pieces = list(answered[layer].float().split([len(rows) for rows in streams[layer]]))
        result[layer] = _asked(lm, one, d[layer], pieces)
    return result


def _streams(one: Reading, d: Mapping[str, Tensor]) -> list[Tensor]:
    """The recorded streams, those without each deviation, and those a step to either side of the mean."""
    x, mean = one.stream, one.stream.mean(dim=0)
    steps = STEP * torch.cat([(x - mean)[None], one.parts - one.parts.mean(dim=1, keepdim=True)]).flatten(0, 1)
    return [x, *((x - part).flatten(0, 1) for part in d.values()), mean + steps, mean - steps]


def _asked(lm: LM, one: Reading, d: Mapping[str, Tensor], pieces: list[Tensor]) -> Asked:
    base, up, down = pieces[0], pieces[-2], pieces[-1]
    size = one.output.norm(dim=-1)
    error = float(((base - one.output).norm(dim=-1) / size.clamp_min(1e-6 * one.stream.norm(dim=-1))).max())
    allowed = max(AGREE, 32 * torch.finfo(lm.dtype).eps)
    if not error <= allowed:
        raise VerificationError(
            f"the MLP of layer {one.layer} of {lm.name} is no function of its own position's stream",
            found=f"asked at the recorded streams it differs from the recording by {error:.1e} (relative)",
            allowed=f"{allowed:.1e}",
        )
    slope = ((up - down) / (2 * STEP)).unflatten(0, (-1, len(base)))
    floor = QUIET * one.stream.norm()
    return Asked(
        d=d,
        change={
            scope: base - piece.unflatten(0, (-1, len(base))) for scope, piece in zip(d, pieces[1:-2], strict=True)
        },
        varies={scope: (value.flatten(1).norm(dim=-1) > floor).float() for scope, value in d.items()},
        tangent=slope[1:],
        whole=slope[0],
        error=error,
    )


def along(
    change: Float[Tensor, "component prompt d_model"],
    d: Float[Tensor, "component prompt d_model"],
    rows: Float[Tensor, "token d_model"] | None = None,
) -> tuple[Float[Tensor, "component prompt"], Float[Tensor, "component prompt"]]:
    """<change, d> and |d|^2 per part and prompt: e is the ratio of their sums. rows: read both along these directions first.

    nan for a part that says nothing along the rows (less than SILENT of what its size and theirs allow): a ratio of
    roundings.
    """
    if rows is None:
        return (change * d).sum(dim=-1), (d * d).sum(dim=-1)
    rows = rows.to(d)
    seen, moved = d @ rows.T, change @ rows.T
    size = (seen * seen).sum(dim=-1)
    silent = size.sum(dim=1) < SILENT**2 * (d * d).sum(dim=(1, 2)) * (rows * rows).sum()
    hole = torch.where(silent, torch.nan, 1.0).to(d)[:, None]
    return (moved * seen).sum(dim=-1) * hole, size * hole
