"""The sending pass of path patching: all senders in one descent over one column, attention held at the base run's.

Beside it the same pass in whole forward passes of the model's own attention, for a few senders of every call: z of every
head at every column is put back to what it was, the sender's replaced. The two must agree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.engine.chunks import cell_groups, prompt_groups, select
from mnemoscope.engine.descent import Held
from mnemoscope.engine.edit import Context, Edit, Key, compiled
from mnemoscope.engine.metric import Question, averaged, of_logits
from mnemoscope.engine.plan import Cell, Places
from mnemoscope.engine.slow import edited, logits_at
from mnemoscope.engine.sources import site_heads
from mnemoscope.engine.store import BaseRun, record_base, record_sites
from mnemoscope.engine.tolerance import sweep_floor, tolerance
from mnemoscope.engine.unembedding import n_words
from mnemoscope.engine.verify import Verification
from mnemoscope.errors import VerificationError
from mnemoscope.model.batch import Batch
from mnemoscope.model.lm import LM

CHECKED = 4  # sender rows of every call that are recomputed in whole forward passes


@dataclass(frozen=True, kw_only=True, eq=False)
class Sending:
    """Pass C: all senders, attention held, over the one column where they stand."""

    lm: LM
    base: Batch
    spot: Int[np.ndarray, " prompt"]
    cells: Sequence[Cell]
    frozen: bool
    budget: int

    def context(self) -> Context:
        """Positions resolved to the one column; prompts end behind it."""
        everyone = np.arange(len(self.base))
        position = self.cells[0][0].position
        column = self.spot[:, None]
        return Context(
            spots={(position, -1): Places(into=column, out_of=column)},
            recordings=(),
            means={},
            n_heads=site_heads(self.lm),
            ends=self.spot + 1,
            recorded=everyone,
            asked=everyone,
        )

    def held(self, batch: Batch, spot: Int[np.ndarray, " prompt"]) -> Held:
        """z (and MLP outputs) of the base run at the column."""
        layers = range(self.lm.n_layers)
        wants = {"z": layers, "mlp_out": layers if self.frozen else ()}
        run = record_sites(self.lm, batch, wants, spot[:, None])
        return Held(
            z={layer: run.sites["z", layer] for layer in layers},
            mlp={layer: run.sites["mlp_out", layer] for layer in layers if self.frozen},
        )

    def descents(
        self, use: Callable[[Int[np.ndarray, " some"], Int[np.ndarray, " some"], BaseRun, Context, Held], None]
    ) -> None:
        """Hand every (prompts, cells) with its recordings to `use`."""
        lm, whole = self.lm, self.context()
        starts = [cell[0].start for cell in self.cells]
        groups = prompt_groups(lm, self.base, suffix=1, budget=self.budget)
        width, most = int(whole.ends.max()), max(len(group) for group in groups)
        ones = np.ones(len(self.cells), dtype=np.int64)
        parts = cell_groups(lm, ones, starts, n_prompts=most, width=width, budget=self.budget)
        for group in groups:
            batch, context = select(self.base, group), whole.of(group)
            read = self.spot[group][:, None]
            run = record_base(lm, batch, ends=context.ends, suffix=1, read=read)
            held = self.held(batch, self.spot[group])
            for _, part in parts:
                use(group, part, run, context, held)


def verdict(sending: Sending, rows: int, largest: float, control: float, scale: float) -> Verification:
    """The record of a sending pass; raises where it is not what whole forward passes give."""
    floor = sweep_floor(sending.lm, sending.base)
    allowed = tolerance(floor, sending.lm.dtype, scale)
    if max(largest, control) > allowed:
        raise VerificationError(
            f"path patching of {sending.lm.name} is not what whole forward passes give",
            found=f"differences of {largest:.3g} (senders) and {control:.3g} (control rows)",
            allowed=f"{allowed:.3g}",
        )
    return Verification(
        path="fast", reason="", rows=rows, largest=largest, control=control, floor=floor, tolerance=allowed
    )


def _held_edits(sending: Sending, batch: Batch, row: int) -> dict[Key, list[Edit]]:
    """Edits that hold z (and MLP outputs) of one prompt at its own values in one row, at every column."""
    layers = range(sending.lm.n_layers)
    wants = {"z": layers, "mlp_out": layers if sending.frozen else ()}
    length = int(batch.lengths[0])
    run = record_sites(sending.lm, batch, wants, np.arange(length)[None])
    edits: dict[Key, list[Edit]] = {}
    for (site, layer), value in run.sites.items():
        column = torch.arange(length)
        heads = None
        flat = value[0]
        if site == "z":
            heads = torch.arange(flat.shape[1]).repeat(length)
            column = column.repeat_interleave(flat.shape[1])
            flat = rearrange(flat, "pos head d -> (pos head) d")
        rows = torch.full_like(column, row)
        edits[site, layer] = [Edit(op="replace", rows=rows, columns=column, heads=heads, values=flat)]
    return edits


def _slow_rows(sending: Sending, n: int) -> tuple[list[tuple[int, int]], Batch, dict[Key, list[Edit]]]:
    """(sender, prompt) pairs, their batch, and the edits of the sending pass in whole forward passes."""
    chosen = np.unique(np.linspace(0, len(sending.cells) - 1, n).round().astype(int)).tolist()
    pairs = [(cell, (3 * i + 1) % len(sending.base)) for i, cell in enumerate(chosen)]
    context = replace(sending.context(), ends=sending.base.lengths.cpu().numpy())
    edits: dict[Key, list[Edit]] = {}
    for row, (cell, prompt) in enumerate(pairs):
        held = _held_edits(sending, select(sending.base, [prompt]), row)
        some = context.of(np.array([prompt]))
        own = compiled([sending.cells[cell]], some, first_row=row, shift=np.zeros(1, dtype=np.int64))
        for found in (held, own):
            for key, edit in found.items():
                edits.setdefault(key, []).extend(edit)
    return pairs, select(sending.base, [prompt for _, prompt in pairs]), edits


def check_logits(
    sending: Sending,
    own: Question,
    effects: Float[np.ndarray, "cell prompt token"],
    share: Float[np.ndarray, " prompt"],
) -> tuple[int, float, float]:
    """Rows recomputed, largest difference of their effects, largest |logit|."""
    pairs, batch, edits = _slow_rows(sending, CHECKED)
    pairs = [(cell, prompt) for cell, prompt in pairs]
    some = own.of(np.array([prompt for _, prompt in pairs]))
    values = []
    for made in (edits, {}):
        logits = logits_at(sending.lm, batch, made, some.read)
        foils = None if some.foils is None else torch.from_numpy(some.foils).to(logits.device)
        targets = torch.from_numpy(some.targets).to(logits.device)
        found = of_logits(logits, targets, foils, some.metric, n_words(sending.lm))
        values.append(averaged(found.cpu().numpy()[None], some)[0])
    fast = np.stack([effects[cell, prompt] for cell, prompt in pairs])
    reached = np.array([share[prompt] > 0 for _, prompt in pairs])
    difference = np.abs(values[0] - values[1] - fast)[reached]
    return len(pairs), float(np.nanmax(difference, initial=0.0)), float(logits.abs().max())


def check_receivers(
    sending: Sending, receivers: Sequence[tuple[int, int]], into: str, carried: Mapping[tuple[int, int], Tensor]
) -> None:
    """The receivers' inputs of some senders, read in whole forward passes."""
    pairs, batch, edits = _slow_rows(sending, CHECKED)
    spot = sending.spot[[prompt for _, prompt in pairs]]
    with edited(sending.lm, edits):
        run = record_sites(sending.lm, batch, {into: {layer for layer, _ in receivers}}, spot[:, None])
    for layer, head in receivers:
        slow = run.sites[into, layer][:, 0, head].float()
        fast = torch.stack([carried[layer, head][cell, prompt] for cell, prompt in pairs]).float()
        allowed = 1e3 * torch.finfo(sending.lm.dtype).eps * float(slow.abs().max())
        difference = float((slow - fast).abs().max())
        if difference > allowed:
            raise VerificationError(
                f"{into} of receiver ({layer}, {head}) is not what whole forward passes give",
                found=f"a difference of {difference:.3g}",
                allowed=f"{allowed:.3g}",
            )
