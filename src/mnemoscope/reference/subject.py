"""The model that is evaluated, asked with plain transformers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mnemoscope.data.prompt import Prompt


@dataclass(frozen=True)
class Subject:
    """The model under test and its tokenizer."""

    model: Any
    tokenizer: Any

    def ids(self, text: str) -> list[int]:
        """Token ids with the start token."""
        return self.tokenizer(text)["input_ids"]

    @torch.no_grad()
    def logits(self, texts: Sequence[list[int]]) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Logits [pos, d_vocab] of each text; padding on the right."""
        for start in range(0, len(texts), 50):
            chunk = texts[start : start + 50]
            width = max(map(len, chunk))
            ids = torch.tensor([row + [0] * (width - len(row)) for row in chunk])
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in chunk])
            out = self.model(input_ids=ids, attention_mask=mask).logits.float()
            yield from ((row, out[i, : len(row)]) for i, row in enumerate(chunk))

    def next_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """The top token behind each prompt."""
        return [int(logits[-1].argmax()) for _, logits in self.logits([self.ids(p.text) for p in prompts])]

    def first(self, prompt: Prompt, answer: str) -> int:
        """The first token of a continuation of the prompt."""
        return self.ids(prompt.text + answer)[len(self.ids(prompt.text))]

    @torch.no_grad()
    def continued(self, prompts: Sequence[Prompt], tokens: int) -> list[str]:
        """Greedy continuations, padding on the left."""
        said: list[str] = []
        for start in range(0, len(prompts), 64):
            chunk = [p.text for p in prompts[start : start + 64]]
            held = self.tokenizer(
                chunk, return_tensors="pt", padding=True, padding_side="left", return_token_type_ids=False
            )
            out = self.model.generate(**held, max_new_tokens=tokens, do_sample=False)
            said += self.tokenizer.batch_decode(out[:, held["input_ids"].shape[1] :], skip_special_tokens=True)
        return said
