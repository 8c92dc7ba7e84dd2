"""Where heads are mixed into the stream: the output projection, the submodule fed by z or by a per-head function of z.

Found by moving z of one head at a time (one row of a probe batch per head) and watching which group of each submodule's
input moves. Gates multiply a head's group, a sub-norm moves the other groups by one common factor: both leave the heads
separable once held at their recorded values, which is why heads are split at this submodule's *input*. What comes
between the projection's output and the stream (nothing, a post-norm, a scale per channel) is found likewise.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mnemoscope.model.lm import LM
from mnemoscope.model.probe import BlockRun, probe, probe_ids, submodules

ROUNDINGS = 8  # relative differences below so many units in the last place are rounding
Found = tuple["OutputProjection | None", str]  # the projection, or the reason why there is none


@dataclass(frozen=True, kw_only=True)
class OutputProjection:
    """An affine submodule whose input is [... head x width]: one group of `width` numbers per head.

    post: the submodule between its output and the stream (a post-norm), None if its output is what is added.
    """

    name: str
    module: nn.Module
    n_heads: int
    width: int
    post: nn.Module | None = None

    @torch.no_grad()
    def bias(self) -> Float[Tensor, " d_model"]:
        """What the projection gives for no input."""
        return self._wide()(self._rows(1))[0]

    @torch.no_grad()
    def matrix(self) -> Float[Tensor, "head width d_model"]:
        """W_O by pushing the identity through the module: fused, transposed or quantised storage needs no table."""
        module, rows = self._wide(), self._rows(self.n_heads * self.width)
        pushed = module(rows + torch.eye(len(rows), device=rows.device, dtype=rows.dtype)) - module(rows[:1])
        return rearrange(pushed, "(head width) d_model -> head width d_model", head=self.n_heads)

    def pull(self, direction: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch head width"]:
        """W_O direction: read z along it and you read the output along `direction`. No output of a head is made."""
        flat = direction.reshape(-1, direction.shape[-1])
        with torch.enable_grad():
            rows = self._rows(len(flat)).requires_grad_()
            output = self._wide()(rows)
            (pulled,) = torch.autograd.grad(output, rows, flat.to(output.device, output.dtype))
        return pulled.reshape(*direction.shape[:-1], self.n_heads, self.width)

    def _wide(self) -> nn.Module:
        """The module, in float32 where its weights are narrower."""
        narrow = [p for p in self.module.parameters() if p.dtype in (torch.float16, torch.bfloat16)]
        return deepcopy(self.module).float() if narrow else self.module

    def _rows(self, n: int) -> Tensor:
        parameter = next((p for p in self.module.parameters() if p.is_floating_point()), torch.zeros(()))
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        return torch.zeros(n, self.n_heads * self.width, device=parameter.device, dtype=dtype)


def find_projections(lm: LM, attn: Mapping[int, str]) -> dict[int, Found]:
    """Layer -> its output projection. attn: layer -> name of the attention's writer."""
    layers = {layer: name for layer, name in attn.items() if lm.attentions[layer] is not None}
    if not layers:
        return {}
    most = max(shape.n_heads for shape in lm.structure.shapes if shape is not None)
    ids = probe_ids(lm, 1, 4, seed=7).expand(1 + most, -1).contiguous()
    generator = torch.Generator().manual_seed(8)
    modules = submodules(lm)
    found: dict[int, Found] = {}

    def move(layer: int, z: Tensor) -> Tensor:
        return _one_head_per_row(z, generator)

    def done(run: BlockRun) -> None:
        if run.layer in layers and run.z is not None:
            found[run.layer] = _find(run, layers[run.layer], lambda name: modules[f"{run.layer}/{name}"])

    def same(layer: int, stream: Tensor) -> Tensor:
        return stream[:1].expand_as(stream).contiguous()

    probe(lm, ids, done, resid=same, change_z=move, inputs=True)
    return found


def _one_head_per_row(z: Tensor, generator: torch.Generator) -> Tensor:
    """Row 0 as it is, row 1 + h with head h moved at every position. z: batch query head d_head."""
    rows, query, heads, width = z.shape
    noise = torch.randn(query, heads, width, generator=generator).to(z.device, z.dtype)
    scale = z.abs().max().clamp_min(1e-2)  # so that a head that says little moves as much as a loud one
    which = torch.eye(heads, dtype=z.dtype, device=z.device)
    which = torch.cat([which.new_zeros(1, heads), which, which.new_zeros(rows - 1 - heads, heads)])
    return z[:1] + which[:, None, :, None] * (noise * scale)


def _find(run: BlockRun, writer: str, module_of: Callable[[str], nn.Module]) -> Found:
    assert run.z is not None
    rows, query, heads, _ = run.z.shape
    width_out = run.resid_in.shape[-1]
    mixing = False
    for name, given in run.inputs.items():
        output = run.outputs.get(name)
        per_token, rest = divmod(given.numel(), rows * query)
        if output is None or run.calls[name] != 1 or rest or per_token % heads:
            continue
        if output.numel() != rows * query * width_out or not _moves(given):
            continue
        groups = given.reshape(rows, query, heads, per_token // heads)
        if not _is_affine(module_of(name), given) or torch.equal(output.flatten(), given.flatten()):
            continue
        if not _separable(groups):
            mixing = True
            continue
        post = _between(run, name, writer, module_of)
        if isinstance(post, str):
            return None, post
        projection = OutputProjection(
            name=name, module=module_of(name), n_heads=heads, width=per_token // heads, post=post
        )
        return projection, ""
    if mixing:
        return None, "heads not separable: no affine submodule has an input with one group per head"
    return None, "no affine submodule between z and the stream"


def _moves(rows: Tensor) -> bool:
    flat = rows.reshape(rows.shape[0], -1).double()
    return bool((flat - flat[:1]).abs().max() > ROUNDINGS * torch.finfo(rows.dtype).eps * flat[0].abs().max())


def _separable(groups: Float[Tensor, "batch query head width"]) -> bool:
    """Row 1 + h differs from row 0 in group h; elsewhere at most by one factor per position (a sub-norm's scale)."""
    heads = groups.shape[2]
    base, moved = groups[0].double(), groups[1 : 1 + heads].double()
    allowed = ROUNDINGS * torch.finfo(groups.dtype).eps * base.abs().amax()
    for head in range(heads):
        own = (moved[head, :, head] - base[:, head]).abs().max()
        other = torch.arange(heads, device=groups.device) != head
        x, y = base[:, other].flatten(1), moved[head][:, other].flatten(1)
        factor = (x * y).sum(-1, keepdim=True) / (x * x).sum(-1, keepdim=True).clamp_min(1e-30)
        still = heads == 1 or bool((y - factor * x).abs().max() <= allowed)
        if not still or not own > allowed:
            return False
    return True


@torch.no_grad()
def _is_affine(module: nn.Module, given: Tensor) -> bool:
    """m(a + b) - m(b) = m(a) - m(0) on the module's own inputs."""
    rows = given[:2].clone()
    if given.shape[0] > 2:
        rows[1] = given[2] * 2
    try:
        zero, a, b, both = (module(x) for x in (rows * 0, rows, rows.flip(0), rows + rows.flip(0)))
    except Exception:  # a module that needs more than its first input is not a projection
        return False
    if not all(isinstance(x, Tensor) for x in (zero, a, b, both)):
        return False
    size = torch.stack([x.double().abs().max() for x in (zero, a, b, both)]).max()
    error = (both.double() - b.double() - a.double() + zero.double()).abs().max()
    eps = torch.finfo(given.dtype).eps
    roundings = 64 if eps < 1e-6 else ROUNDINGS  # narrow types are summed up in float32 and rounded once
    return bool(error <= roundings * eps * size)


def _between(run: BlockRun, name: str, writer: str, module_of: Callable[[str], nn.Module]) -> nn.Module | str | None:
    """The one submodule between the projection's output and the writer's; None if they are equal; a reason if unknown."""
    output, written = run.outputs[name].flatten(), run.outputs[writer].flatten()
    if torch.equal(output, written):
        return None
    given = run.inputs.get(writer)
    if given is not None and torch.equal(given.flatten(), output):
        return module_of(writer)
    return f"what happens between {name} and {writer} is not one submodule"
