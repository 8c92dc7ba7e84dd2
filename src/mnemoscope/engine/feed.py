"""What the MLPs of a model make of streams of our own: the function m_l(x), asked at any x.

An MLP acts on every position by itself. So x stands as the stream of a one-token text, put there where the MLP reads it,
and the MLP's writer is read. Every layer gets its own streams in one and the same pass, since what is put into a layer
replaces whatever the earlier ones computed.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mnemoscope.engine.body import final_stream
from mnemoscope.engine.edit import Edit, Key
from mnemoscope.engine.site import site_reason
from mnemoscope.engine.slow import edited
from mnemoscope.engine.writers import writer_seam
from mnemoscope.errors import UnsupportedError
from mnemoscope.model.batch import batch_of_ids, forward_inputs
from mnemoscope.model.lm import LM
from mnemoscope.model.parts import block_parts
from mnemoscope.model.seams import BlockCall, block_seam

ROWS = 4096  # streams of one pass


def mlp_input(lm: LM, layer: int) -> str:
    """The site that the MLP of a layer reads (through its norm): resid_mid, or resid_pre in a parallel block."""
    return "resid_pre" if block_parts(lm)[layer].parallel else "resid_mid"


def mlp_reason(lm: LM, layer: int) -> str:
    """Why the MLP of a layer cannot be asked; "" if it can."""
    return site_reason(lm, "mlp_out", layer) or site_reason(lm, mlp_input(lm, layer), layer)


@torch.no_grad()
def mlp_outputs(lm: LM, streams: Mapping[int, Float[Tensor, "_ d_model"]]) -> dict[int, Float[Tensor, "_ d_model"]]:
    """Layer -> what its MLP adds to the stream (post-norm, gate and multiplier included) if it reads these streams.

    Raises UnsupportedError for layers without an MLP that can be told apart. An MLP that mixes positions is not such a
    function: who uses this compares it with recorded outputs (see `mnemoscope.measures.mlp_activation`).
    """
    bad = {layer: reason for layer in streams if (reason := mlp_reason(lm, layer))}
    if bad:
        raise UnsupportedError(f"MLPs of {lm.name} cannot be asked", found=f"layer {min(bad)}: {bad[min(bad)]}")
    most = max(len(rows) for rows in streams.values())
    found: dict[int, list[Tensor]] = {layer: [] for layer in streams}
    for first in range(0, most, ROWS):
        some = {layer: rows[first : first + ROWS] for layer, rows in streams.items() if len(rows) > first}
        for layer, rows in _asked(lm, some).items():
            found[layer].append(rows)
    return {layer: torch.cat(parts) for layer, parts in found.items()}


def _asked(lm: LM, streams: Mapping[int, Tensor]) -> dict[int, Tensor]:
    n_rows = max(len(rows) for rows in streams.values())
    edits: dict[Key, list[Edit]] = {}
    for layer, rows in streams.items():
        for site in (
            "resid_pre",
            mlp_input(lm, layer),
        ):  # both: what is carried past the attention then cancels exactly
            edits[site, layer] = [_edit(rows)]
    kept: dict[int, Tensor] = {}
    stream: list[Tensor] = []

    def before(call: BlockCall) -> None:
        stream[:] = [call.resid]

    def written(site: str, layer: int, value: Tensor) -> None:
        kept[layer] = value[: len(streams[layer]), 0].clone()

    batch = batch_of_ids(lm, [[int(lm.fill_id == 0)]] * n_rows)  # any token but the padding one, which draws a warning
    inputs = forward_inputs(lm, batch)
    with (
        edited(lm, edits),
        block_seam(lm.blocks, before=before),
        writer_seam(lm, {"mlp_out": tuple(streams)}, written, lambda: stream[0]),
    ):
        final_stream(lm, inputs)
    return kept


def _edit(rows: Tensor) -> Edit:
    index = torch.arange(len(rows))
    return Edit(op="replace", rows=index, columns=torch.zeros_like(index), heads=None, values=rows)
