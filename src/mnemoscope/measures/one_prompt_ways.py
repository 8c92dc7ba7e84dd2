"""The four ways in which `one_prompt` reads a token: through the lens, directly, by the effect of heads, by the patch map.

Each takes the question, the quantity on a prompt, and answers with numbers; what a model does not allow raises
UnsupportedError or VerificationError. Ways that can prove themselves add a `Proof`. Definitions: `one_prompt`.
"""

import math
import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.engine.component import Component
from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.execute import DescentWarning
from mnemoscope.engine.plan import Patch
from mnemoscope.engine.readout import attribute
from mnemoscope.engine.record import trace
from mnemoscope.engine.sweep import Sweep, sweep, sweep_cells
from mnemoscope.engine.tolerance import sweep_floor, tolerance
from mnemoscope.engine.unembedding import n_words
from mnemoscope.engine.vocabulary import exact_rank
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import Batch
from mnemoscope.model.head import unembed, unembedding
from mnemoscope.model.lm import LM
from mnemoscope.model.spelling import spelled
from mnemoscope.results.look import AttentionRow, Entry, LayerLine, Proof

MOST_ENTRIES = 1_500  # (layer, position) pairs of the patch map; above, every second layer, every third ...
REBUILT = 1e-5  # of the largest logit: what rebuilding a logit from its parts may cost, in float32


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """The question: the quantity on a prompt (and on its foil prompt), and the model's own last logits."""

    lm: LM
    batch: Batch
    source: Batch | None
    token: int
    foil: int | None
    logits: Float[Tensor, " d_vocab"]
    source_logits: Float[Tensor, " d_vocab"] | None

    @property
    def metric(self) -> str:
        """What a sweep has to compute for the quantity."""
        return "logit_minus_mean" if self.foil is None else "logit_diff"

    def value(self, logits: Float[Tensor, " d_vocab"] | None) -> float:
        """The quantity in a row of logits; nan without one."""
        if logits is None:
            return math.nan
        other = logits[: n_words(self.lm)].mean() if self.foil is None else logits[self.foil]
        return float(logits[self.token] - other)

    def swept(self, site: str, op: str) -> Sweep:
        """One sweep of a site at the last position."""
        foils = None if self.foil is None else [self.foil]
        return sweep(
            self.lm, self.batch, self.source, site=site, op=op, tokens=[self.token], foils=foils, metric=self.metric
        )


def direct(asked: Asked, proofs: list[Proof]) -> dict[Component, float]:
    """Direct push of every component, proven to sum to the model's own quantity (where logits are not capped)."""
    parts = decompose(asked.lm, asked.batch)
    proofs.append(
        Proof(identity="parts = stream", error=parts.error, allowed=parts.allowed, unit="share of sizes", n=1)
    )
    if asked.foil is None:
        found = attribute(parts, [asked.token], reference="mean")
    else:
        found = attribute(parts, [asked.token], reference="foil", foils=[asked.foil])
    if unembedding(asked.lm).softcap is None:
        scale = float(asked.logits.abs().max())
        rounding = tolerance(sweep_floor(asked.lm, asked.batch), asked.lm.dtype, scale)
        error = abs(float(found.total[0, 0]) - asked.value(asked.logits))
        proofs.append(
            Proof(
                identity="pushes + biases = quantity",
                error=error,
                allowed=max(REBUILT * scale, rounding),
                unit="logits",
                n=1,
            )
        )
    return dict(zip(found.components, found.values[:, 0, 0].tolist(), strict=True))


def lens(asked: Asked, direct: dict[Component, float]) -> tuple[LayerLine, ...]:
    """The stream behind every layer, unembedded, beside what the layer's attention and MLP push."""
    stream = trace(asked.lm, asked.batch, sites=("resid_post",))
    lines: list[LayerLine] = []
    for layer in stream.layers("resid_post"):
        logits = unembed(asked.lm, stream.at("resid_post", layer)[0, 0]).float().cpu()
        logprob = logits.double().log_softmax(0)
        best = int(logits.argmax())
        lines.append(
            LayerLine(
                layer=layer,
                rank=float(exact_rank(logits, torch.tensor([asked.token]))),
                probability=float(logprob[asked.token].exp()),
                logit=float(logits[asked.token]),
                top=spelled(asked.lm, best),
                top_probability=float(logprob[best].exp()),
                attention=_pushed(direct, layer, ("head", "attn", "attn_bias")),
                mlp=_pushed(direct, layer, ("mlp",)),
            )
        )
    return tuple(lines)


def _pushed(direct: dict[Component, float], layer: int, kinds: tuple[str, ...]) -> float:
    """Sum of the pushes of a layer's components of these kinds; nan if it has none that we know."""
    found = [push for component, push in direct.items() if component.layer == layer and component.kind in kinds]
    return sum(found) if found else math.nan


def effects(asked: Asked, proofs: list[Proof]) -> dict[tuple[int, int], float]:
    """Effect of every head: z zeroed, or taken from the foil prompt, at the last position."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DescentWarning)  # the proof says which path was taken, and why
        found = asked.swept("z", "zero" if asked.source is None else "replace")
    proofs += _proofs("heads", found)
    layers, heads = found.coordinates["layer"], found.coordinates["head"]
    return {(l, h): float(found.effects[i, j, 0]) for i, l in enumerate(layers) for j, h in enumerate(heads)}


def entries(asked: Asked, proofs: list[Proof]) -> tuple[Entry, ...]:
    """Interchange of the stream into every layer, from the first position on where the prompts differ."""
    lm, source = asked.lm, asked.source
    if source is None:
        return ()
    if source.ids.shape != asked.batch.ids.shape:
        lengths = f"{asked.batch.ids.shape[1]} and {source.ids.shape[1]} tokens"
        raise UnsupportedError("no patch map", found=f"prompt and foil prompt have {lengths}", allowed="equally many")
    first = int((source.ids != asked.batch.ids)[0].int().argmax())
    positions = range(first, source.ids.shape[1])
    step = math.ceil(lm.n_layers * len(positions) / MOST_ENTRIES)
    places = [(layer, position) for layer in range(0, lm.n_layers, step) for position in positions]
    cells = [(Patch(site="resid_pre", layer=layer, position=position),) for layer, position in places]
    foils = None if asked.foil is None else [asked.foil]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DescentWarning)
        found = sweep_cells(
            lm, asked.batch, cells, sources=(source,), tokens=[asked.token], foils=foils, metric=asked.metric
        )
    proofs += _proofs("stream", found)
    effects = found.effects[:, 0].tolist()
    return tuple(Entry(layer=l, position=p, effect=e) for (l, p), e in zip(places, effects, strict=True))


def _proofs(what: str, found: Sweep) -> list[Proof]:
    """What a sweep says about itself."""
    seen = found.verification
    if seen.path == "slow":
        detail = f"whole forward passes: {seen.reason}"
        return [
            Proof(identity=f"{what} patched", error=math.nan, allowed=seen.tolerance, unit="logits", n=0, detail=detail)
        ]
    same = {"allowed": seen.tolerance, "unit": "logits"}
    return [
        Proof(
            identity=f"{what} patched in one descent = one forward pass each", error=seen.largest, n=seen.rows, **same
        ),
        Proof(identity=f"{what}: unpatched rows = the model", error=seen.control, n=1, **same),
    ]


def last_rows(asked: Asked) -> tuple[AttentionRow, ...]:
    """Attention of every head from the last position."""
    found = trace(asked.lm, asked.batch, sites=("pattern",))
    query = asked.batch.ids.shape[1] - 1
    return tuple(
        AttentionRow(layer=layer, head=head, query=query, weights=tuple(row.tolist()))
        for layer in found.layers("pattern")
        for head, row in enumerate(found.at("pattern", layer)[0, 0].cpu())
    )
