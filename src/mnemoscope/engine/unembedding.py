"""From the vectors that go into the output embedding to logits: complete rows, or only the tokens each prompt asks for.

`mnemoscope.model.head` knows what the model does around its output embedding (scale, soft-cap); here many patched rows
of the same prompts are read at once, so that a prompt's rows of W_U are gathered once and not once per row.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.head import unembedding
from mnemoscope.model.lm import LM


@dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """logits = softcap * tanh(scale * (x W_U + b) / softcap), without the soft-cap where that is None.

    n_words: vocabulary entries that the tokenizer can emit; rows beyond are padding.
    """

    module: nn.Module
    scale: float
    softcap: float | None
    n_words: int
    d_vocab: int

    def _finished(self, raw: Tensor) -> Tensor:
        raw = raw * self.scale if self.scale != 1.0 else raw
        return raw if self.softcap is None else self.softcap * torch.tanh(raw / self.softcap)

    def logits(self, x: Float[Tensor, "*rows d_model"]) -> Float[Tensor, "*rows d_vocab"]:
        """Complete rows."""
        return self._finished(self.module(x)[..., : self.d_vocab].float())

    @property
    def plain(self) -> bool:
        """Whether rows of the weight are all there is to it."""
        return isinstance(self.module, nn.Linear) and type(self.module).forward is nn.Linear.forward

    def _weights(self) -> tuple[Tensor, Tensor | None]:
        weight, bias = self.module.weight, getattr(self.module, "bias", None)
        assert isinstance(weight, Tensor)
        return weight, bias if isinstance(bias, Tensor) else None

    def token_logits(
        self, x: Float[Tensor, "cell prompt read d_model"], tokens: Int[Tensor, "prompt read token"]
    ) -> Float[Tensor, "cell prompt read token"]:
        """Logits of chosen tokens only, accumulated in float32."""
        if not self.plain:
            return self.logits(x).gather(3, tokens[None].expand(x.shape[0], -1, -1, -1))
        weight, bias = self._weights()
        raw = torch.einsum("cprd,prtd->cprt", x.float(), weight[tokens].float())
        return self._finished(raw if bias is None else raw + bias[tokens].float())

    def mean_logit(self, x: Float[Tensor, "cell prompt read d_model"]) -> Float[Tensor, "cell prompt read"]:
        """Mean logit over the words of the vocabulary; exact only without a soft-cap."""
        if not self.plain:
            return self.logits(x)[..., : self.n_words].mean(dim=-1)
        weight, bias = self._weights()
        raw = x.float() @ weight[: self.n_words].float().mean(dim=0)
        return self.scale * (raw if bias is None else raw + bias[: self.n_words].float().mean())


def n_words(lm: LM) -> int:
    """Vocabulary entries that the tokenizer can emit; all of them where there is no tokenizer."""
    return lm.d_vocab if lm.tokenizer is None else min(len(lm.tokenizer), lm.d_vocab)


def reader(lm: LM) -> Reader:
    """Reads logits; raises where the model's head is not understood (then whole forward passes read them)."""
    found = unembedding(lm)
    if found.reason or found.head is None:
        raise UnsupportedError(f"the unembedding of {lm.name} is not understood", found=found.reason)
    return Reader(
        module=found.head.module,
        scale=found.scale,
        softcap=found.softcap,
        n_words=n_words(lm),
        d_vocab=lm.d_vocab,
    )
