"""The model's body: everything up to what goes into the unembedding, run by the model itself.

The output embedding is handed zero rows, so what stands between the last block and it (scales, projections) is always the
model's own, and no vocabulary is computed that nobody reads.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import module_seam


@contextmanager
def unembedding_input(lm: LM, kept: list[Tensor]) -> Iterator[None]:
    """Catch what goes into the unembedding and let it unembed nothing."""
    head = lm.model.get_output_embeddings()
    if head is None:
        raise UnsupportedError(f"{lm.name} has no unembedding module", found="get_output_embeddings() is None")

    def before(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        kept.append(args[0])
        return (args[0][:0], *args[1:]), dict(kwargs)

    with module_seam({"unembedding": head}, before=before):
        yield


@torch.no_grad()
def final_stream(lm: LM, inputs: Mapping[str, Tensor]) -> Float[Tensor, "batch pos d_model"]:
    """What the model gives its unembedding, without unembedding it."""
    kept: list[Tensor] = []
    with unembedding_input(lm, kept):
        lm.model(**inputs, use_cache=False)
    return kept[0]
