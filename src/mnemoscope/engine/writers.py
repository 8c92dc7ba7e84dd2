"""attn_out, mlp_out and resid_mid: what a block's writers add to the stream, seen and replaced where it is added.

A writer is the submodule whose output, times a coefficient, is added to the residual stream (`mnemoscope.model.parts`):
after post-norms, gates and multipliers. resid_mid = residual coefficient x resid_pre + attn_out is nowhere a tensor of
its own in many models, so it is replaced through the attention's writer.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from mnemoscope.errors import UnsupportedError
from mnemoscope.model.lm import LM
from mnemoscope.model.parts import BlockParts, Writer, block_parts
from mnemoscope.model.seams import module_seam

WRITER_SITES = ("attn_out", "resid_mid", "mlp_out")
Change = Callable[[str, int, Tensor], Tensor | None]  # (site, layer, value [row pos d_model]) -> another value, or None


def writer_reason(lm: LM, site: str, layer: int) -> str:
    """Why a site cannot be reached in a layer; "" if it can."""
    part = block_parts(lm)[layer]
    if part.reason:
        return part.reason
    if (part.mlp if site == "mlp_out" else part.attn) is None:
        return f"no submodule writes {site} to the stream"
    if site == "resid_mid" and part.parallel:
        return "attention and MLP read the same stream: there is no resid_mid"
    return ""


def _writer(lm: LM, site: str, layer: int) -> tuple[Writer, BlockParts]:
    reason = writer_reason(lm, site, layer)
    if reason:
        raise UnsupportedError(f"{site} of layer {layer} of {lm.name} cannot be reached", found=reason)
    part = block_parts(lm)[layer]
    writer = part.mlp if site == "mlp_out" else part.attn
    assert writer is not None
    return writer, part


@contextmanager
def writer_seam(
    lm: LM,
    wants: Mapping[str, Collection[int]],
    change: Change,
    stream: Callable[[], Float[Tensor, "row pos d_model"]],
) -> Iterator[None]:
    """Show the wanted writer sites (site -> layers), in units of the stream; what `change` returns takes their place.

    stream: the residual stream into the block that is running.
    """
    pairs = [(site, layer) for site in WRITER_SITES for layer in wants.get(site, ())]
    found = {f"{site}/{layer}": (site, layer, *_writer(lm, site, layer)) for site, layer in pairs}
    modules: dict[str, nn.Module] = {name: writer.module for name, (_, _, writer, _) in found.items()}

    def after(name: str, output: Any) -> Any:
        site, layer, writer, part = found[name]
        raw: Tensor = output[0] if isinstance(output, tuple) else output
        carried = part.residual * stream() if site == "resid_mid" else None
        value = raw.reshape(stream().shape) * writer.coefficient
        changed = change(site, layer, value if carried is None else value + carried)
        if changed is None:
            return None
        added = changed if carried is None else changed - carried
        new = (added / writer.coefficient).to(raw.dtype).reshape(raw.shape)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    with module_seam(modules, after=after):
        yield
