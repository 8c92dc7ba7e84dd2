"""The terms of the stream into the first block: token embedding, learned positions, types; with their multipliers.

Embeddings are the modules that read whole numbers. If the stream into the first block is a sum of their outputs, they are
its terms; if it is not (a norm or a projection stands behind them), the stream itself is the one term.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mnemoscope.model.lm import LM
from mnemoscope.model.parts import Writer
from mnemoscope.model.probe import BlockRun, first_tensor, probe_ids
from mnemoscope.model.seams import BlockCall, block_seam, module_seam
from mnemoscope.model.structure import text_decoder
from mnemoscope.model.terms import block_terms


def embedding_parts(lm: LM) -> tuple[Writer, ...]:
    """Modules whose outputs x coefficients sum to the stream into the first block; none if no such sum was found.

    Outputs have the shape [batch pos d_model] or, where they do not depend on the prompt, [1 pos d_model] or [pos d_model].
    """
    return lm.once("embedding parts", lambda: _find(lm))


@torch.no_grad()
def _find(lm: LM) -> tuple[Writer, ...]:
    ids = probe_ids(lm, 3, 7, seed=9)
    outputs: dict[str, Tensor] = {}
    calls: dict[str, int] = {}
    reads_numbers: set[str] = set()
    stream: list[Tensor] = []

    def before_block(call: BlockCall) -> None:
        if call.layer == 0:
            stream.append(call.resid.clone())

    def entering(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        given = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if given is not None and not given.is_floating_point():
            reads_numbers.add(name)

    def leaving(name: str, output: Any) -> None:
        tensor = first_tensor(output)
        if not stream and name in reads_numbers and tensor is not None and tensor.is_floating_point():
            calls[name] = calls.get(name, 0) + 1
            outputs[name] = tensor.clone()

    modules = _outside(lm)
    with block_seam(lm.blocks[:1], before=before_block), module_seam(modules, before=entering, after=leaving):
        text_decoder(lm.model)(input_ids=ids, use_cache=False)
    shape = stream[0].shape
    fits = {name: out for name, out in outputs.items() if out.numel() in (shape.numel(), shape[1:].numel())}
    generic = torch.randn(shape, generator=torch.Generator().manual_seed(10)).to(stream[0])
    run = BlockRun(layer=0, resid_in=generic, resid_out=stream[0])
    run.outputs = {name: out.reshape(-1, *shape[1:]).expand(shape) for name, out in fits.items() if calls[name] == 1}
    terms, extra = block_terms(run, list(run.outputs))
    if extra:
        return ()
    return tuple(Writer(name=name, module=modules[name], coefficient=c) for name, c in terms.items())


def _outside(lm: LM) -> dict[str, nn.Module]:
    """Modules of the decoder that neither are nor hold blocks."""
    inside = {module for block in lm.blocks for module in block.modules()}
    decoder = text_decoder(lm.model)
    return {
        name: module for name, module in decoder.named_modules() if name and not inside.intersection(module.modules())
    }
