"""Probe runs: a few tokens through the model with every block fed a residual stream of our choice.

Because each block gets its own input, a disturbance inside one block does not reach the next: one forward pass is an
independent experiment in every block at once. What a block's submodules gave is handed over when the block ends, and
freed. Nothing of the model is changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import AttentionCall, BlockCall, attention_seam, block_seam, module_seam
from mnemoscope.model.structure import text_decoder

Change = Callable[[int, str, Tensor], Tensor | None]  # (layer, submodule, its output) -> another output, or None
ChangeZ = Callable[[int, Tensor], Tensor]  # (layer, z) -> z


@dataclass(kw_only=True)
class BlockRun:
    """One block in one probe run: the stream in and out, and what went into and came out of each submodule, in order
    of completion."""

    layer: int
    resid_in: Tensor
    resid_out: Tensor | None = None
    z: Tensor | None = None
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)


def first_tensor(value: Any) -> Tensor | None:
    """The tensor itself, or the first of a tuple if that is one."""
    first = value[0] if isinstance(value, (tuple, list)) and value else value
    return first if isinstance(first, Tensor) else None


def with_first(value: Any, tensor: Tensor) -> Any:
    """The same output with another first tensor."""
    if isinstance(value, (tuple, list)):
        return type(value)((tensor, *value[1:]))
    return tensor


def submodules(lm: LM) -> dict[str, nn.Module]:
    """Every submodule of every block, as "layer/name"."""
    return {
        f"{layer}/{name}": module
        for layer, block in enumerate(lm.blocks)
        for name, module in block.named_modules()
        if name
    }


def probe_ids(lm: LM, rows: int, tokens: int, seed: int) -> Int[Tensor, "batch pos"]:
    """Random token ids; rows are different."""
    generator = torch.Generator().manual_seed(seed)
    embedding: Any = lm.model.get_input_embeddings()
    n_words = int(embedding.weight.shape[0])
    return torch.randint(0, n_words, (rows, tokens), generator=generator).to(lm.device)


@torch.no_grad()
def probe(
    lm: LM,
    ids: Int[Tensor, "batch pos"],
    done: Callable[[BlockRun], None],
    *,
    resid: Callable[[int, Tensor], Tensor] | None = None,
    change: Change | None = None,
    change_z: ChangeZ | None = None,
    inputs: bool = False,
) -> None:
    """Run the decoder's body once and hand every finished block to `done`.

    resid(layer, stream) -> stream: what the block gets instead. change: replaces a submodule's output. change_z:
    replaces what the attention function gave. inputs: keep the first input tensor of every submodule too.
    """
    run: BlockRun | None = None

    def before(call: BlockCall) -> BlockCall | None:
        nonlocal run
        stream = call.resid if resid is None else resid(call.layer, call.resid)
        if stream.ndim != 3:
            raise UnsupportedError("the stream of a block is not [batch pos d_model]", found=str(tuple(stream.shape)))
        run = BlockRun(layer=call.layer, resid_in=stream.clone())
        return call.with_resid(stream)

    def after(layer: int, stream: Tensor) -> None:
        nonlocal run
        assert run is not None
        finished, run = run, None  # `done` may call submodules itself: that is not recorded
        finished.resid_out = stream.clone()
        done(finished)

    def entering(key: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        given = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        if run is not None and given is not None and given.is_floating_point():
            run.inputs[key.partition("/")[2]] = given.clone()

    def leaving(key: str, output: Any) -> Any:
        tensor = first_tensor(output)
        if run is None or tensor is None or not tensor.is_floating_point():
            return None
        name = key.partition("/")[2]
        changed = change(run.layer, name, tensor) if change else None
        run.calls[name] = run.calls.get(name, 0) + 1
        run.outputs[name] = (tensor if changed is None else changed).clone()
        return None if changed is None else with_first(output, changed)

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        z, pattern = call()
        if run is not None and run.layer == call.layer:
            z = change_z(call.layer, z) if change_z else z
            run.z = z.clone()
        return z, pattern

    with (
        block_seam(lm.blocks, before=before, after=after),
        module_seam(submodules(lm), before=entering if inputs else None, after=leaving),
        attention_seam(lm.attention_layers, attend),
    ):
        text_decoder(lm.model)(input_ids=ids, use_cache=False)


def stream_wide(run: BlockRun) -> list[str]:
    """Submodules called once whose output has the size of the stream: what may be a term of the block's sum."""
    size = run.resid_in.numel()
    return [name for name, output in run.outputs.items() if run.calls[name] == 1 and output.numel() == size]
