"""From the vector that goes into the unembedding to logits: all of them, or only those of the tokens asked for.

What a model does to the product with W_U (a logit scale, a soft-cap) is found by handing it a ramp in place of the
module's output and looking at what it returns; a model that does anything else is read by complete rows of its own.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import module_seam


@dataclass(frozen=True, kw_only=True, eq=False)
class Unembedding:
    """logits = softcap * tanh(scale * (x W_U + b) / softcap), without the soft-cap where that is None.

    n_words: vocabulary entries that the tokenizer can emit; rows beyond are padding.
    """

    module: nn.Module
    scale: float
    softcap: float | None
    n_words: int

    def _finished(self, raw: Tensor) -> Tensor:
        raw = raw * self.scale if self.scale != 1.0 else raw
        return raw if self.softcap is None else self.softcap * torch.tanh(raw / self.softcap)

    def logits(self, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_vocab"]:
        """Complete rows."""
        return self._finished(self.module(x).float())

    def _weights(self) -> tuple[Tensor, Tensor | None]:
        weight, bias = self.module.weight, getattr(self.module, "bias", None)
        assert isinstance(weight, Tensor)
        return weight, bias if isinstance(bias, Tensor) else None

    def token_logits(
        self, x: Float[Tensor, "cell prompt read d_model"], tokens: Int[Tensor, "prompt read token"]
    ) -> Float[Tensor, "cell prompt read token"]:
        """Logits of chosen tokens only, accumulated in float32."""
        if not isinstance(self.module, nn.Linear):
            index = tokens[None].expand(x.shape[0], -1, -1, -1)
            return self.logits(x).gather(3, index)
        weight, bias = self._weights()
        rows = weight[tokens].float()
        raw = torch.einsum("cprd,prtd->cprt", x.float().to(rows.device), rows)
        return self._finished(raw if bias is None else raw + bias[tokens].float())

    def mean_logit(self, x: Float[Tensor, "cell prompt read d_model"]) -> Float[Tensor, "cell prompt read"]:
        """Mean logit over the words of the vocabulary; exact only without a soft-cap."""
        if not isinstance(self.module, nn.Linear):
            return self.logits(x)[..., : self.n_words].mean(dim=-1)
        weight, bias = self._weights()
        mean = weight[: self.n_words].float().mean(dim=0)
        raw = x.float().to(mean.device) @ mean
        return self.scale * (raw if bias is None else raw + bias[: self.n_words].float().mean())


def unembedding(lm: LM) -> Unembedding:
    """The unembedding of a model, found once."""
    return lm.once("unembedding", lambda: _find(lm))


def _find(lm: LM) -> Unembedding:
    module = lm.model.get_output_embeddings()
    if not isinstance(module, nn.Module):
        raise UnsupportedError(f"{lm.name} has no unembedding module", found="get_output_embeddings() is None")
    n_words = lm.d_vocab if lm.tokenizer is None else min(len(lm.tokenizer), lm.d_vocab)
    ramp, answer = _ramp(lm, module)
    scale = float(answer[len(ramp) // 2 + 1] / ramp[len(ramp) // 2 + 1])
    cap = getattr(lm.config, "final_logit_softcapping", None)
    for softcap in (None, cap):
        found = Unembedding(module=module, scale=scale, softcap=softcap, n_words=n_words)
        error = (found._finished(ramp) - answer).abs().max() / answer.abs().max()
        if float(error) <= 8 * torch.finfo(lm.dtype).eps:
            return Unembedding(module=module, scale=_rounded(scale), softcap=softcap, n_words=n_words)
    raise UnsupportedError(
        f"what {lm.name} does to its logits is not understood",
        found=f"neither a scale ({scale:.4g}) nor a soft-cap gives its logits",
        hint="metrics are read the slow way",
    )


def _rounded(scale: float) -> float:
    return 1.0 if abs(scale - 1.0) < 1e-6 else scale


@torch.no_grad()
def _ramp(lm: LM, module: nn.Module) -> tuple[Tensor, Tensor]:
    """Numbers from -60 to 60 (densest at 0) in place of the unembedding's output, and what the model makes of them."""
    sent: list[Tensor] = []

    def after(name: str, output: Any) -> Any:
        line = torch.linspace(-1, 1, output.shape[-1], device=output.device, dtype=torch.float32)
        sent.append((60 * line**3).to(output.dtype))
        return sent[0].expand(output.shape).clone()

    with module_seam({"unembedding": module}, after=after):
        ids = torch.full((1, 1), lm.fill_id, dtype=torch.long, device=lm.device)
        answer = lm.model(input_ids=ids, use_cache=False).logits
    return sent[0].float(), answer[0, 0].float()
