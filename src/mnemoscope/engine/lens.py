"""Logit lens: what the stream after every layer would say if it were unembedded there (nostalgebraist 2020).

    lens_l(t) = logit of token t of unembed(final norm(resid_l))

The norm takes the scale of that layer's own stream. At the last layer this is the model's logit. The lens is a reading,
not a fact about what later layers use: it is poor in OPT and in early Llama layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.data.prompt import Prompt
from mnemoscope.engine.record import record, trace_columns, wanted
from mnemoscope.engine.vocabulary import exact_rank, zscore
from mnemoscope.errors import OptionError, PromptError
from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.head import normed, unembed, unembedding
from mnemoscope.model.lm import LM

SITES = ("resid_pre", "resid_mid", "resid_post")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lens:
    """Read-outs of the stream at `layers`, one prompt per row, positions as asked.

    logits [layer batch pos token] of the asked tokens (soft-capped where the model caps); zscores: the same against the
    vocabulary, before any soft-cap; ranks: exact, 0 is the top (None unless asked for); top_tokens, top_logits
    [layer batch pos k] (None unless asked for).
    """

    layers: tuple[int, ...]
    columns: Int[Tensor, "batch pos"]
    tokens: Int[Tensor, "batch token"]
    logits: Float[Tensor, "layer batch pos token"]
    zscores: Float[Tensor, "layer batch pos token"] | None
    ranks: Float[Tensor, "layer batch pos token"] | None
    top_tokens: Int[Tensor, "layer batch pos k"] | None
    top_logits: Float[Tensor, "layer batch pos k"] | None


def lens(
    lm: LM,
    prompts: Sequence[str] | Sequence[Prompt] | Int[Tensor, "batch pos"] | Batch,
    tokens: Sequence[int] | Int[Tensor, "*asked"],
    positions: str = "last",
    layers: Sequence[int] | None = None,
    *,
    site: str = "resid_post",
    ranks: bool = False,
    top: int = 0,
    zscores: bool = False,
) -> Lens:
    """The logit lens for chosen tokens (the same for all prompts, or [batch token]).

    Chosen tokens cost their rows of W_U. ranks and top need complete rows (d_vocab logits per layer, prompt and position;
    one layer is held at a time); zscores need the vocabulary's second moments (one d_vocab x d_model^2 product per model).
    """
    if site not in SITES:
        raise OptionError(f"no lens on {site!r}", allowed=", ".join(SITES))
    batch = prompts if isinstance(prompts, Batch) else tokenize(lm, prompts)
    asked = _asked(lm, tokens, len(batch))
    columns = trace_columns(batch, positions, "equal")
    found: dict[int, dict[str, Tensor]] = {}
    unembedding(lm)  # a discovery runs the model: never inside the recording

    def each(layer: int, sites: Mapping[str, Tensor]) -> None:
        found[layer] = _read(lm, sites[site], asked, ranks=ranks, top=top, zscores=zscores)

    record(lm, batch, wanted(lm, (site,), layers), columns, each)
    order = tuple(sorted(found))

    def stacked(name: str) -> Tensor | None:
        values = [found[layer][name] for layer in order if name in found[layer]]
        return torch.stack(values) if values else None

    logits = stacked("logits")
    assert logits is not None
    return Lens(
        layers=order,
        columns=columns,
        tokens=asked,
        logits=logits,
        zscores=stacked("zscores"),
        ranks=stacked("ranks"),
        top_tokens=stacked("top_tokens"),
        top_logits=stacked("top_logits"),
    )


def _asked(lm: LM, tokens: Sequence[int] | Tensor, n_prompts: int) -> Int[Tensor, "batch token"]:
    asked = torch.as_tensor(tokens, dtype=torch.long)
    asked = asked.expand(n_prompts, -1) if asked.ndim == 1 else asked
    if asked.ndim != 2 or asked.shape[0] != n_prompts:
        raise PromptError("tokens are read as [token] or [batch token]", found=str(tuple(asked.shape)))
    return asked.to(lm.device)


@torch.no_grad()
def _read(
    lm: LM,
    stream: Float[Tensor, "batch pos d_model"],
    tokens: Int[Tensor, "batch token"],
    *,
    ranks: bool,
    top: int,
    zscores: bool,
) -> dict[str, Tensor]:
    """The read-outs of one layer."""
    n_pos = stream.shape[1]
    per_position = tokens[:, None].expand(-1, n_pos, -1)
    found: dict[str, Tensor] = {}
    if ranks or top:
        rows = unembed(lm, stream)
        found["logits"] = rows.gather(-1, per_position)
        if ranks:
            found["ranks"] = exact_rank(rows, per_position)
        if top:
            found["top_logits"], found["top_tokens"] = rows.topk(top, dim=-1)
    else:
        unique, place = tokens.unique(return_inverse=True)
        rows = unembed(lm, stream, unique)
        found["logits"] = rows.gather(-1, place[:, None].expand(-1, n_pos, -1))
    if zscores:
        flat = zscore(lm, normed(lm, stream).flatten(0, 1), per_position.flatten(0, 1))
        found["zscores"] = flat.reshape(per_position.shape)
    return found
