"""What each block adds to the residual stream, and which submodule writes it: discovered, then proven on other inputs.

A block computes  stream_out = c0 * stream_in + sum_i c_i * y_i  with y_i outputs of some of its submodules. To find which,
independent noise is added to the output of *every* submodule and the equation is solved by least squares: the noise makes
every output generic, so the true terms get their coefficients and all others zero, whatever the weights are (a head with
zero weights, a post-norm, a residual multiplier). The terms are then proven without noise on other inputs.

A submodule that adds the stream itself (BLOOM's attention, MPT's MLP) shows as a solution without stream_in; it is left
out and the search goes one level deeper. A post-layer-norm block has no solution: it is refused with that reason.
Which term is the attention: the one that moves when z, the output of the attention function, is moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnemoscope.model.lm import LM
from mnemoscope.model.probe import BlockRun, probe, probe_ids, stream_wide, submodules
from mnemoscope.model.projection import OutputProjection, find_projections
from mnemoscope.model.terms import allowed_error, block_terms

__all__ = ["BlockParts", "OutputProjection", "Writer", "block_parts"]

LEVELS = 4  # how deep submodules that carry the stream may be nested


@dataclass(frozen=True, kw_only=True)
class Writer:
    """What is added to the stream: coefficient x (the module's first output as [batch pos d_model])."""

    name: str
    module: nn.Module
    coefficient: float


@dataclass(frozen=True, kw_only=True)
class BlockParts:
    """The terms of one block's sum.

    parallel: the other writers do not see what attention adds, so there is no resid_mid. others: writers beyond one
    attention and one MLP (mixers that are not attention, several feed-forward paths). residual: coefficient of the
    stream itself. error: largest |sum of terms - stream_out| / |stream_out| over positions of the proof. reason: why
    there are no parts; "" if there are.
    """

    attn: Writer | None = None
    mlp: Writer | None = None
    others: tuple[Writer, ...] = ()
    parallel: bool = False
    residual: float = 1.0
    o_proj: OutputProjection | None = None
    error: float = float("nan")
    reason: str = ""
    o_proj_reason: str = ""

    @property
    def writers(self) -> tuple[Writer, ...]:
        """All of them."""
        return tuple(w for w in (self.attn, self.mlp, *self.others) if w is not None)


def block_parts(lm: LM) -> tuple[BlockParts, ...]:
    """The parts of every block. Found once per LM (a few probe runs of a few tokens) and kept with it."""
    return lm.once("block parts", lambda: _find(lm))


def relative_error(found: Float[Tensor, "batch pos d_model"], true: Float[Tensor, "batch pos d_model"]) -> float:
    """Largest over positions of |found - true| / |true|, Euclidean norms over d_model."""
    found, true = found.double(), true.double()
    scale = true.norm(dim=-1).clamp_min(torch.finfo(torch.float64).tiny)
    return float(((found - true).norm(dim=-1) / scale).max())


def _find(lm: LM) -> tuple[BlockParts, ...]:
    try:
        parts = _with_errors(lm, _classified(lm, _sums(lm)))
        found = find_projections(lm, {layer: part.attn.name for layer, part in enumerate(parts) if part.attn})
    except Exception as error:  # what does not survive a probe run, in whatever way, is not understood
        return (BlockParts(reason=f"probe run failed: {type(error).__name__}: {error}"),) * lm.n_layers
    none = (None, "the block has no attention that reaches the attention interface")
    return tuple(
        part if part.reason else _with_projection(part, *found.get(layer, none)) for layer, part in enumerate(parts)
    )


def _with_projection(part: BlockParts, o_proj: OutputProjection | None, reason: str) -> BlockParts:
    return replace(part, o_proj=o_proj, o_proj_reason=reason)


def _sums(lm: LM) -> dict[int, BlockParts]:
    """The terms of each block by least squares, all of them in `others`, in order of execution."""
    ids = probe_ids(lm, 2, 6, seed=1)
    streams: dict[int, Tensor] = {}
    candidates: dict[int, list[str]] = {}

    def done(run: BlockRun) -> None:
        streams[run.layer] = run.resid_in
        candidates[run.layer] = stream_wide(run)

    probe(lm, ids, done)
    solved: dict[int, BlockParts] = {}
    for _ in range(LEVELS):
        deeper = _noise_run(lm, ids, streams, candidates, solved)
        if not deeper:
            break
        candidates |= deeper
    reason = "no sum of submodule outputs and the stream gives the block's output (post-layer-norm, or fused)"
    return {layer: solved.get(layer, BlockParts(reason=reason)) for layer in range(lm.n_layers)}


def _noise_run(
    lm: LM,
    ids: Tensor,
    streams: Mapping[int, Tensor],
    candidates: Mapping[int, list[str]],
    solved: dict[int, BlockParts],
) -> dict[int, list[str]]:
    """Solve what can be solved; for the others the candidates of the next, deeper run."""
    generator = torch.Generator().manual_seed(2)
    deeper: dict[int, list[str]] = {}
    modules = submodules(lm)

    def noisy(layer: int, name: str, output: Tensor) -> Tensor | None:
        if name not in candidates[layer] or output.numel() != streams[layer].numel():
            return None
        noise = torch.randn(output.shape, generator=generator).to(output.device)
        return output + (noise * streams[layer].float().std()).to(output.dtype)

    def done(run: BlockRun) -> None:
        if run.layer in solved:
            return
        names = candidates[run.layer]
        terms, residual = block_terms(run, names)
        if terms and residual != 0:
            writers = tuple(
                Writer(name=name, module=modules[f"{run.layer}/{name}"], coefficient=c) for name, c in terms.items()
            )
            solved[run.layer] = BlockParts(others=writers, residual=residual)
        elif terms:  # the first term to be executed carries the stream (or is a norm of the sum): look inside
            deeper[run.layer] = [name for name in names if name != next(iter(terms))]

    probe(lm, ids, done, resid=lambda layer, _: streams[layer], change=noisy)
    return deeper


def _classified(lm: LM, sums: Mapping[int, BlockParts]) -> dict[int, BlockParts]:
    """Tell attention from the rest: move z and see which writer moves first."""
    ids = probe_ids(lm, 1, 5, seed=3).expand(2, -1).contiguous()
    generator = torch.Generator().manual_seed(4)
    named: dict[int, BlockParts] = {}
    attention_names = {
        layer: next((name for name, module in lm.blocks[layer].named_modules() if module is attention), "")
        for layer, attention in enumerate(lm.attentions)
        if attention is not None
    }

    def moved(layer: int, z: Tensor) -> Tensor:
        return _second_row_moved(z, generator)

    def done(run: BlockRun) -> None:
        part = sums[run.layer]
        changed = [w for w in part.others if _rows_differ(run.outputs[w.name])]
        if not part.reason:
            attn = _attention_of(part.others, changed, attention_names.get(run.layer))
            rest = tuple(w for w in part.others if w is not attn)
            mlp = rest[0] if attn is not None and len(rest) == 1 else None
            part = replace(part, attn=attn, mlp=mlp, others=() if mlp else rest)
        named[run.layer] = part

    probe(lm, ids, done, resid=_same_rows, change_z=moved)
    return _parallel(lm, ids, named)


def _attention_of(writers: tuple[Writer, ...], changed: list[Writer], attention: str | None) -> Writer | None:
    """The first writer that moves with z; where none does (zero weights), the one in or around the attention module."""
    if attention is None:
        return None
    around = [w for w in writers if f"{w.name}.".startswith(f"{attention}.") or attention.startswith(f"{w.name}.")]
    return next(iter([*changed, *around, *writers]), None)


def _parallel(lm: LM, ids: Tensor, named: Mapping[int, BlockParts]) -> dict[int, BlockParts]:
    """A block is parallel if nothing in it, but what contains the attention's writer, sees what attention adds."""
    generator = torch.Generator().manual_seed(5)
    result: dict[int, BlockParts] = {}

    def moved(layer: int, name: str, output: Tensor) -> Tensor | None:
        attn = named[layer].attn
        return _second_row_moved(output, generator) if attn is not None and attn.name == name else None

    def done(run: BlockRun) -> None:
        part = named[run.layer]
        if part.attn is not None:
            order = list(run.outputs)
            later = order[order.index(part.attn.name) + 1 :]
            seen = [n for n in later if not part.attn.name.startswith(f"{n}.") and _rows_differ(run.outputs[n])]
            part = replace(part, parallel=bool(part.mlp or part.others) and not seen)
        result[run.layer] = part

    probe(lm, ids, done, resid=_same_rows, change=moved)
    return result


def _with_errors(lm: LM, parts: Mapping[int, BlockParts]) -> tuple[BlockParts, ...]:
    """The proof: other tokens, the model's own streams, no noise."""
    proven: dict[int, BlockParts] = {}

    def done(run: BlockRun) -> None:
        part = parts[run.layer]
        if not part.reason:
            assert run.resid_out is not None
            total = part.residual * run.resid_in.double()
            for writer in part.writers:
                total = total + writer.coefficient * run.outputs[writer.name].reshape(total.shape).double()
            error = relative_error(total, run.resid_out)
            part = replace(part, error=error)
            if not error <= allowed_error(run.resid_out.dtype):
                part = BlockParts(reason=f"the sum found on probe inputs fails on others: relative error {error:.1e}")
        proven[run.layer] = part

    probe(lm, probe_ids(lm, 3, 7, seed=6), done)
    return tuple(proven[layer] for layer in range(lm.n_layers))


def _same_rows(layer: int, stream: Tensor) -> Tensor:
    return stream[:1].expand_as(stream).contiguous()


def _second_row_moved(value: Tensor, generator: torch.Generator) -> Tensor:
    rows = value.reshape(2, -1)
    noise = torch.randn(rows.shape[1], generator=generator).to(value.device, value.dtype)
    scale = rows.abs().max().clamp_min(1e-2)
    return torch.stack([rows[0], rows[1] + noise * scale]).reshape(value.shape)


def _rows_differ(output: Tensor) -> bool:
    rows = output.reshape(2, -1).double()
    threshold = 8 * torch.finfo(output.dtype).eps * rows[0].abs().max()
    return bool((rows[1] - rows[0]).abs().max() > threshold)
