"""Undoing what the last layer does to confidence: four remedies as contexts around the model's own `forward` and `generate`.

    heads        M1: chosen heads of the last layer say the same everywhere (nothing, or a given mean)
    frequency    M2: the last MLP's output loses `amount` of its component along the direction of frequent tokens
    scale        M2: the last MLP's output counts `amount` times
    skip         M3: the last layer is left out
    temperature  logits / T: the plain remedy that every other one has to beat
    random       the control of `frequency`: as long a component along a direction drawn at random

Mechanism: Lv et al. 2024 (arXiv 2403.19521), section on anti-overconfidence; the exact remedies are ours (methods.md P2.5, B6.8).
Every remedy may carry a temperature. Nothing of it remains when the context ends.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.intervene import intervene
from mnemoscope.engine.plan import Patch
from mnemoscope.engine.site import site_reason
from mnemoscope.engine.sources import site_heads
from mnemoscope.engine.writers import writer_reason, writer_seam
from mnemoscope.errors import InputError, OptionError, UnsupportedError, choose, listed
from mnemoscope.measures.frequency import frequency_direction, token_counts
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import BlockCall, block_seam, module_seam

REMEDIES: Final = ("heads", "frequency", "scale", "skip", "temperature", "random")


@dataclass(frozen=True, kw_only=True, eq=False)
class Remedy:
    """One remedy, ready to be used.

    heads      numbers of last-layer heads (remedy "heads"); `says` [head d_value]: what they say instead, None: nothing
    amount     share of the component that is removed ("frequency", "random"), or the MLP's factor ("scale")
    direction  of length 1 in the stream ("frequency"); whose component sets the length ("random", along `drawn`)
    """

    name: str
    heads: tuple[int, ...] = ()
    says: Float[Tensor, "head d_value"] | None = None
    amount: float = 1.0
    direction: Float[Tensor, " d_model"] | None = None
    drawn: Float[Tensor, " d_model"] | None = None
    temperature: float = 1.0


def remedy(
    lm: LM,
    name: str,
    *,
    heads: Sequence[int] = (),
    amount: float = 1.0,
    temperature: float = 1.0,
    texts: Iterable[str] | None = None,
) -> Remedy:
    """A remedy from plain arguments. heads: of the last layer. texts: what frequencies are counted in (remedy "frequency")."""
    choose("remedy", name, REMEDIES)
    if (name == "heads") != bool(heads):
        raise InputError(
            f"remedy {name!r}", found=f"heads={list(heads)}", allowed="heads=[...] with remedy 'heads' alone"
        )
    if (name == "frequency") != (texts is not None):
        found = "no texts" if texts is None else "texts"
        raise InputError(f"remedy {name!r} with {found}", allowed="texts=[...] with remedy 'frequency' alone")
    if name == "random":
        raise OptionError("remedy 'random' is a control", allowed="a Remedy with `direction` and `drawn`")
    direction = None if texts is None else frequency_direction(lm, token_counts(lm, texts))
    return Remedy(name=name, heads=tuple(heads), amount=amount, direction=direction, temperature=temperature)


@contextmanager
def mitigate(
    lm: LM,
    how: str | Remedy,
    *,
    heads: Sequence[int] = (),
    amount: float = 1.0,
    temperature: float = 1.0,
    texts: Iterable[str] | None = None,
) -> Iterator[Remedy]:
    """While the context lasts, the model computes with a remedy against last-layer suppression.

        with ms.mitigate(lm, "frequency", texts=texts):
            lm.model.generate(**inputs)

    how          "heads" (with heads=[...], numbers in the last layer), "frequency" (with texts=[...]), "scale" (amount: factor of
                 the last MLP), "skip" (no last layer), "temperature", or a Remedy
    amount       "frequency": share of the component that is removed; temperature: logits are divided by it, in every remedy
    It acts at every position of every pass. Afterwards the model's numbers are bit for bit what they were. Raises
    UnsupportedError where the model's last layer has no such place, InputError for arguments that do not fit.
    """
    chosen = (
        how
        if isinstance(how, Remedy)
        else remedy(lm, how, heads=heads, amount=amount, temperature=temperature, texts=texts)
    )
    _refuse(lm, chosen)
    with ExitStack() as stack:
        for part in _parts(lm, chosen):
            stack.enter_context(part)
        yield chosen


def _refuse(lm: LM, chosen: Remedy) -> None:
    last = lm.n_layers - 1
    choose("remedy", chosen.name, REMEDIES)
    site = {"heads": "z", "frequency": "mlp_out", "random": "mlp_out", "scale": "mlp_out", "skip": "resid_pre"}
    place = site.get(chosen.name)
    reason = site_reason(lm, place, last) if place else ""
    if reason:
        raise UnsupportedError(f"remedy {chosen.name!r} on {lm.name}", found=f"layer {last}: {reason}")
    if not 0 < chosen.temperature < float("inf"):
        raise InputError("a temperature", found=str(chosen.temperature), allowed="> 0")
    n = site_heads(lm).get(("z", last), 0)
    bad = [str(head) for head in chosen.heads if not 0 <= head < n]
    if bad or (chosen.name == "heads" and not chosen.heads):
        raise OptionError(f"heads of layer {last}", found=listed(bad) or "none", allowed=f"0 to {n - 1}")
    needed = {"frequency": ("direction",), "random": ("direction", "drawn")}.get(chosen.name, ())
    lacking = [name for name in needed if getattr(chosen, name) is None]
    if lacking:
        raise InputError(
            f"remedy {chosen.name!r}", found=f"no {listed(lacking)}", hint="mnemoscope.measures.mitigation.remedy"
        )


def _parts(lm: LM, chosen: Remedy) -> list[Any]:
    """The contexts that a remedy consists of; every discovery is made before the first of them opens."""
    last = lm.n_layers - 1
    parts: list[Any] = []
    if chosen.name == "heads":
        parts.append(intervene(lm, [_said(last, chosen, i) for i in range(len(chosen.heads))]))
    elif chosen.name == "scale":
        parts.append(
            intervene(lm, [Patch(site="mlp_out", layer=last, position="all", op="scale", value=chosen.amount)])
        )
    elif chosen.name in ("frequency", "random"):
        parts.append(_without(lm, chosen))
    elif chosen.name == "skip":
        parts.append(_skipped(lm))
    return [*parts, _tempered(lm, chosen.temperature)] if chosen.temperature != 1 else parts


def _said(last: int, chosen: Remedy, i: int) -> Patch:
    op, value = ("zero", None) if chosen.says is None else ("replace", chosen.says[i])
    return Patch(site="z", layer=last, head=chosen.heads[i], position="all", op=op, value=value)


@contextmanager
def _without(lm: LM, chosen: Remedy) -> Iterator[None]:
    """The last MLP's output without a share of its component along a direction (or as much along a drawn one)."""
    last = lm.n_layers - 1
    reason = writer_reason(lm, "mlp_out", last)
    if reason:
        raise UnsupportedError(f"remedy {chosen.name!r} on {lm.name}", found=reason)
    stream: list[Tensor] = []

    def before(call: BlockCall) -> None:
        if call.layer == last:
            stream[:] = [call.resid]

    def change(site: str, layer: int, value: Tensor) -> Tensor:
        assert chosen.direction is not None
        u = chosen.direction.to(value.device, torch.promote_types(value.dtype, torch.float32))
        size = value.to(u) @ u
        away = u
        if chosen.drawn is not None:
            away = chosen.drawn.to(u)
            size = size.abs() * (value.to(u) @ away).sign()
        return (value.to(u) - chosen.amount * size[..., None] * away).to(value.dtype)

    with block_seam(lm.blocks, before=before), writer_seam(lm, {"mlp_out": (last,)}, change, lambda: stream[0]):
        yield


@contextmanager
def _skipped(lm: LM) -> Iterator[None]:
    """The stream behind the last block is the stream before it; the block runs all the same, so that caches fill."""
    last = lm.n_layers - 1
    stream: list[Tensor] = []

    def before(call: BlockCall) -> None:
        if call.layer == last:
            stream[:] = [call.resid]

    def after(layer: int, resid: Tensor) -> Tensor | None:
        return stream[0].reshape(resid.shape).to(resid.dtype) if layer == last else None

    with block_seam(lm.blocks, before=before, after=after):
        yield


@contextmanager
def _tempered(lm: LM, temperature: float) -> Iterator[None]:
    """Logits of the model's own output divided by a temperature."""

    def after(name: str, output: Any) -> Any:
        if getattr(output, "loss", None) is not None:
            raise UnsupportedError(
                "a temperature and a loss computed by the model", hint="compute the loss from the logits"
            )
        tempered = copy.copy(output)
        tempered.logits = output.logits / temperature
        return tempered

    with module_seam({"model": lm.model}, after=after):
        yield


@torch.no_grad()
def inverse_temperature(
    logits: Float[Tensor, "example option"], targets: Int[Tensor, " example"], *, most: float = 10.0
) -> float:
    """1 / T that minimises the mean NLL of logits / T, between 1/most and most: Newton's steps on a convex function.

    d/db = mean(E_b z - z_target), d2/db2 = mean Var_b z, with b = 1 / T. At `most` the targets are (nearly) all on top already.
    """
    z = logits.double() - logits.double().amax(dim=1, keepdim=True)
    own = z.gather(1, targets[:, None])[:, 0]
    beta, low, high = 1.0, 1 / most, most
    for _ in range(60):
        p = (beta * z).softmax(dim=1)
        mean = (p * z).sum(dim=1)
        slope = float((mean - own).mean())
        curve = float(((p * z * z).sum(dim=1) - mean**2).mean())
        low, high = (beta, high) if slope < 0 else (low, beta)
        step = beta - slope / curve if curve > 0 else high
        new = step if low < step < high else (low * high) ** 0.5
        if abs(new - beta) < 1e-9 * beta:
            break
        beta = new
    return beta
