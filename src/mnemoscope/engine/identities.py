"""What must be equal, measured on a model: one line per identity, with its largest error and what rounding allows.

Each function asks one question of a model on a few random tokens. What a model does not have is an UnsupportedError, which
the check turns into a verdict; an identity that does not hold is a line that says so. Nothing here needs gradients: the
check asks inside `torch.no_grad()`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.axes import SITES
from mnemoscope.engine.decompose import decompose
from mnemoscope.engine.readout import attribute
from mnemoscope.engine.record import record, trace_columns
from mnemoscope.engine.rows import PatternRows, pattern_rows
from mnemoscope.engine.site import site_reason
from mnemoscope.engine.tolerance import differences, floor_of, tolerance
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.affine import attention_map
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.head import capped, unembedding
from mnemoscope.model.lm import LM
from mnemoscope.model.parts import block_parts
from mnemoscope.model.seams import AttentionCall, attention_seam
from mnemoscope.model.terms import allowed_error

TOKENS = 12
ATTRIBUTED = 8  # tokens whose logits are rebuilt from parts


@dataclass(frozen=True, kw_only=True)
class Line:
    """One identity: what should be equal, the largest error found, the largest that counts as rounding, in which unit."""

    identity: str
    error: float
    allowed: float
    unit: str

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.error <= self.allowed


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What every question shares: two prompts of random tokens, the model's own logits, the noise floor."""

    lm: LM
    base: Batch
    source: Batch
    logits: Float[Tensor, "batch pos d_vocab"]
    floor: float
    alone: Mapping[str, float]  # evaluation -> its largest difference from the prompt alone

    @property
    def scale(self) -> float:
        """The largest |logit|."""
        return float(self.logits.float().abs().max())

    @property
    def allowed(self) -> float:
        """Largest difference in logits that counts as rounding."""
        return tolerance(self.floor, self.lm.dtype, self.scale)


@torch.no_grad()
def setting(lm: LM) -> Setting:
    """Random prompts and what the unmodified model says about them."""
    generator = torch.Generator().manual_seed(0)
    length = min(TOKENS, lm.n_ctx or TOKENS)
    ids = torch.randint(0, lm.d_vocab, (4, length), generator=generator)
    base, source = tokenize(lm, ids[:2]), tokenize(lm, ids[2:])
    found = differences(lm, base)
    return Setting(
        lm=lm,
        base=base,
        source=source,
        logits=lm.model(input_ids=base.ids, use_cache=False).logits,
        floor=floor_of(found, lm.dtype),
        alone=found.of,
    )


def idle(asked: Setting) -> Iterator[Line]:
    """Recording every site changes nothing, and the body alone is the body inside the model."""
    lm, base = asked.lm, asked.base
    again = lm.model(input_ids=base.ids, use_cache=False).logits
    repeat = _largest(again - asked.logits)
    own = tolerance(0.0, lm.dtype, asked.scale)
    yield Line(identity="the same call twice", error=repeat, allowed=own, unit="logits")
    sites = [site for site in SITES if site != "pattern"]
    wants = {site: [n for n in range(lm.n_layers) if not site_reason(lm, site, n)] for site in sites}
    last: list[Tensor] = []

    def each(layer: int, found: Mapping[str, Tensor]) -> None:
        if layer == lm.n_layers - 1:
            last.append(found["resid_post"])

    columns = trace_columns(base, "all", "equal")
    seen = record(lm, base, wants, columns, each, logits="all")
    assert seen is not None
    error = _largest(seen - asked.logits)
    yield Line(identity="seams idle = the model's own logits", error=error, allowed=repeat, unit="logits")
    record(lm, base, {"resid_post": (lm.n_layers - 1,)}, columns, each)
    error = _largest(last[1] - last[0]) / _largest(last[0])
    eps = torch.finfo(lm.dtype).eps
    yield Line(
        identity="body alone = body inside the model", error=error, allowed=4 * eps if repeat else 0.0, unit="share"
    )


def attention_rows(asked: Setting) -> Iterator[Line]:
    """softmax(q k + mask), computed here, times v is the model's z, in every layer."""
    lm, base = asked.lm, asked.base
    if not lm.attention_layers:
        raise UnsupportedError(f"{lm.name} has no attention to look at", found=lm.reason("record"))
    columns = trace_columns(base, "all", "equal")
    found: list[PatternRows] = []

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        z, pattern = call()
        found.append(pattern_rows(call, z, columns, base.mask))  # every call, where there are several
        return z, pattern

    with attention_seam(lm.attention_layers, attend):
        lm.model(input_ids=base.ids, use_cache=False)
    worst = max(found, key=lambda rows: rows.error / rows.allowed)
    yield Line(identity="attention rows x v = z", error=worst.error, allowed=worst.allowed, unit="z")


def writers(asked: Setting) -> Iterator[Line]:
    """stream in + what the writers add = stream out, in every block that has writers."""
    errors = [part.error for part in block_parts(asked.lm) if not part.reason]
    if not errors:
        raise UnsupportedError("no block is a sum", found=block_parts(asked.lm)[0].reason)
    allowed = allowed_error(asked.lm.dtype)
    yield Line(identity="stream in + attention + MLP = stream out", error=max(errors), allowed=allowed, unit="share")


def head(asked: Setting) -> Iterator[Line]:
    """Final norm, unembedding, logit scale and soft-cap, put together here, are the model's logits."""
    found = unembedding(asked.lm)
    if found.reason:
        raise UnsupportedError(f"the unembedding of {asked.lm.name} is not understood", found=found.reason)
    allowed = 32 * torch.finfo(asked.lm.dtype).eps
    yield Line(identity="norm, unembed, scale, cap = logits", error=found.error, allowed=allowed, unit="share")


def parts(asked: Setting) -> Iterator[Line]:
    """Embedding + all parts = the final stream; with the norm held at its scale they sum to the model's logits."""
    lm = asked.lm
    found = decompose(lm, asked.base, "all")
    yield Line(identity="embedding + parts = final stream", error=found.error, allowed=found.allowed, unit="share")
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    for tokens in torch.randint(0, lm.d_vocab, (ATTRIBUTED, len(asked.base)), generator=generator):
        own = asked.logits.gather(
            -1, tokens.to(asked.logits.device)[:, None, None].expand(-1, found.columns.shape[1], 1)
        )
        worst = max(worst, _largest(capped(lm, attribute(found, tokens).total) - own[..., 0]))
    yield Line(identity="attributions + biases = logits", error=worst, allowed=_rebuilt(asked), unit="logits")


def _rebuilt(asked: Setting) -> float:
    """What rebuilding logits from parts may cost; norms of type rms compute in float32 whatever the model's type."""
    norm = unembedding(asked.lm).norm
    floors = {torch.float64: 1e-9 if norm is None or norm.centres else 1e-5, torch.float32: 1e-5 * asked.scale}
    return max(floors.get(asked.lm.dtype, 0.0), asked.allowed)


def padding(asked: Setting) -> Iterator[Line]:
    """A prompt has the numbers it has alone: beside others, padded, continued from the cache."""
    allowed = tolerance(asked.floor, asked.lm.dtype, asked.scale)
    for name, error in asked.alone.items():
        if name != "alone":
            yield Line(identity=f"{name} = alone", error=error, allowed=allowed, unit="logits")


def weights(asked: Setting) -> Iterator[Line]:
    """Each weight matrix, as an affine map, gives what the module gives on random inputs; on a few layers."""
    lm = asked.lm
    allowed = 64 * torch.finfo(lm.dtype).eps
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        maps = [attention_map(lm, layer, name) for layer in some_layers(lm)]
        errors = [found.error for found in maps if not found.reason]
        if errors:
            yield Line(identity=f"{name} = its module", error=max(errors), allowed=allowed, unit="share")


def some_layers(lm: LM) -> tuple[int, ...]:
    """First, middle and last layer, and the first of every kind of attention: what costs too much for all of them."""
    kinds = [(type(module), shape) for module, shape in zip(lm.attentions, lm.shapes, strict=True)]
    return tuple(sorted({0, lm.n_layers // 2, lm.n_layers - 1, *(kinds.index(kind) for kind in dict.fromkeys(kinds))}))


def _largest(values: Tensor) -> float:
    largest = float(values.double().abs().max())
    return largest if largest == largest else float("inf")  # nan is no agreement
