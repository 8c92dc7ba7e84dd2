"""Path patching: what a component tells one receiver directly, everything else held still (methods.md B6.2).

Senders are heads (z) or MLPs (mlp_out). In the sending pass z of *every* head at every position is held at the base
run's, except the sender; norms and post-norms recompute; MLPs are free, or held too. Receivers:

    the final logits   the sending pass is read out: the sender's effect that does not go through later attention
    q, k or v of heads their q, k or v is read in the sending pass, at the sender's position, *before* anything is held,
                       and put into a run in which everything answers: the sender's effect through these inputs

With attention held, positions do not mix: a sender at another position than the one read out has *exactly* no effect on
the final logits, and k/v receivers at a position take senders at that position only. So every pass is a descent over one
column, and all senders go in one. In a parallel block the same layer's MLP is not downstream of its attention.
References: Wang et al. 2022 (IOI), section 3.1; Goldowsky-Dill et al. 2023; the replacement mean as in Lv et al. 2024.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mnemoscope.axes import METRICS
from mnemoscope.engine.chunks import budget_bytes, prompt_groups, select
from mnemoscope.engine.descent import Held, descend, refusal, steps
from mnemoscope.engine.edit import Context
from mnemoscope.engine.execute import Answered, Task, vocabulary_rows
from mnemoscope.engine.frozen import frozen
from mnemoscope.engine.metric import Question, Tokens, question, scores
from mnemoscope.engine.plan import Cell, Patch, Position
from mnemoscope.engine.senders import (
    Receivers,
    Sender,
    one_column,
    refuse_absent,
    refuse_foreign,
    sender_patch,
    sender_values,
    shares,
)
from mnemoscope.engine.sending import Sending, check_logits, check_receivers, verdict
from mnemoscope.engine.store import BaseRun, record_base
from mnemoscope.engine.sweep import Prompts, Sweep, as_batch, sweep_cells
from mnemoscope.errors import InputError, UnsupportedError, choose
from mnemoscope.model.head import final_norm, unembedding
from mnemoscope.model.lm import LM
from mnemoscope.model.seams import AttentionCall


def path_patch(
    lm: LM,
    base: Prompts,
    source: Prompts,
    *,
    senders: Sequence[Sender],
    receivers: Receivers | None = None,
    into: str = "q",
    positions: Position = "last",
    replacement: str | Float[np.ndarray, "prompt source_prompt"] = "pairs",
    mlps: str = "free",
    norm: str = "free",
    readout: Position = "last",
    tokens: Tokens = None,
    foils: Tokens = None,
    metric: str = "logit",
    align: str | None = None,
    budget: str | int = "1GiB",
) -> Sweep:
    """The effect of every sender along one kind of path, on every prompt: axes sender, prompt[, token].

    receivers    None: the final logits; else heads whose q, k or v (`into`) is replaced, all of them together
    positions    of the senders, one token per prompt; for receivers also theirs
    replacement  "pairs": the sender's output in the source prompt of the same index; "mean": its mean over the source
                 prompts; or weights [prompt, source_prompt] whose rows sum to 1 (means over other topics, B6.2)
    mlps         "free" or "frozen" (in the sending pass)
    norm         "free", or "frozen": the final norm at its recorded scale; with mlps="frozen" the effect then is the
                 difference of direct attributions (to the final logits only)
    effect = metric of the patched run - metric of the base run, in the metric's units; 0 exactly where no path exists
    (other position, receiver not after the sender). Raises UnsupportedError where a descent is refused, and
    VerificationError where the sending pass is not what whole forward passes give.
    """
    choose("receiver site", into, ("q", "k", "v"))
    choose("mlps", mlps, ("free", "frozen"))
    choose("norm", norm, ("free", "frozen"))
    choose("metric", metric, METRICS)
    if norm == "frozen" and receivers is not None:
        raise InputError("norm='frozen' with receivers", allowed="the final logits (receivers=None)")
    where, origin = as_batch(lm, base), as_batch(lm, source)
    reason = refusal(lm)
    if reason:
        raise UnsupportedError(f"path patching of {lm.name} needs descents", found=reason)
    refuse_absent(lm, senders, mlps)
    spot = one_column(where, positions, align, "base")
    asked = question(lm, where, metric=metric, tokens=tokens, foils=foils, readout=readout, align=align)
    weights = shares(replacement, len(where), len(origin))
    values = sender_values(lm, origin, senders, one_column(origin, positions, align, "source"), weights, budget)
    cells = [(sender_patch(sender, value, positions),) for sender, value in zip(senders, values, strict=True)]
    sending = Sending(lm=lm, base=where, spot=spot, cells=cells, frozen=mlps == "frozen", budget=budget_bytes(budget))
    if receivers is None:
        return _shaped(_to_logits(sending, asked, frozen_norm=norm == "frozen"), senders, asked, metric)
    refuse_foreign(lm, receivers, into)
    carried = _into_receivers(sending, receivers, into)
    plan, kept = _receiving_cells(senders, receivers, into, positions, carried)
    found = sweep_cells(
        lm, where, plan, readout=readout, tokens=tokens, foils=foils, metric=metric, align=align, budget=budget
    )
    effects = np.zeros((len(senders), *found.effects.shape[1:]))
    effects[kept] = found.effects
    coordinates = {**found.coordinates, "sender": tuple(range(len(senders)))}
    return replace(found, effects=effects, axes=("sender", *found.axes[1:]), coordinates=coordinates)


def _to_logits(sending: Sending, asked: Question, *, frozen_norm: bool) -> Answered:
    """Effects on the logits read at the senders' own column; exactly 0 for columns elsewhere."""
    lm, cells = sending.lm, sending.cells
    here = asked.read == sending.spot[:, None]
    share = here.sum(axis=1) / (asked.read >= 0).sum(axis=1)
    own = replace(asked, read=sending.spot[:, None], targets=_targets_at(asked, here))
    effects = np.zeros((len(cells), len(sending.base), asked.targets.shape[2]))
    answer = np.zeros_like(effects)
    most = vocabulary_rows(lm, sending.budget)
    worst = [0.0]

    def use(group: np.ndarray, part: np.ndarray, run: BaseRun, context: Context, held: Held) -> None:
        plan = steps([cells[i] for i in part], context, n_layers=lm.n_layers, width=run.width, suffix=1)
        streams: list[Tensor] = []
        final = descend(lm, run, plan, held=held, last=streams.append)
        place = [1 + place for place in plan.order]
        for kept, rows in ((effects, final), (answer, _linear(lm, run, streams[0]) if frozen_norm else final)):
            found = scores(lm, rows, own.of(group), most_rows=most)
            kept[np.ix_(part, group)] = found[place] - found[:1]
        base = scores(lm, run.final[None], own.of(group), most_rows=most)[0]
        worst[0] = max(
            worst[0], float(np.nanmax(np.abs(scores(lm, final[:1], own.of(group), most_rows=most)[0] - base)))
        )

    sending.descents(use)
    checked, largest, scale = check_logits(sending, own, effects, share)
    task = Task(lm=lm, base=sending.base, sources=(), asked=asked, budget=sending.budget)
    verified = verdict(sending, checked, largest, worst[0], scale)
    return Answered(effects=answer * share[None, :, None], base=_base_metric(task), verification=verified)


@torch.no_grad()
def _linear(
    lm: LM, run: BaseRun, stream: Float[Tensor, "row suffix d_model"]
) -> Float[Tensor, "cell prompt suffix d_model"]:
    """What the final norm gives if it is held at the scale it had in the base run."""
    head, facts = unembedding(lm), final_norm(lm)
    if facts is None or len(head.steps) != 1:
        raise UnsupportedError(
            f"the final norm of {lm.name} cannot be held", found="it is not the only step to the head"
        )
    base = run.resid[lm.n_layers][:, -1:]
    linear = frozen(facts, base, run.final)
    rows = rearrange(stream, "(cell prompt) suffix d -> cell prompt suffix d", prompt=base.shape[0])
    return run.final + linear.push(rows - base).to(run.final.dtype)


def _targets_at(asked: Question, here: np.ndarray) -> Int[np.ndarray, "prompt one token"]:
    """The targets of the column where the senders stand; any column's where they stand elsewhere."""
    column = here.argmax(axis=1)
    return asked.targets[np.arange(len(column)), column][:, None]


def _base_metric(task: Task) -> Float[np.ndarray, "prompt token"]:
    found = np.full((len(task.base), task.asked.targets.shape[2]), np.nan)
    for group in prompt_groups(task.lm, task.base, suffix=1, budget=task.budget):
        some = task.asked.of(group)
        run = record_base(task.lm, select(task.base, group), ends=some.ends, suffix=1, read=some.read)
        most = vocabulary_rows(task.lm, task.budget)
        found[group] = scores(task.lm, run.final[None], some, most_rows=most)[0]
    return found


def _into_receivers(
    sending: Sending, receivers: Receivers, into: str
) -> dict[tuple[int, int], Float[Tensor, "cell prompt d"]]:
    """Receiver -> its q, k or v in every sender's run."""
    lm, cells = sending.lm, sending.cells
    carried: dict[tuple[int, int], Tensor] = {}
    name = {"q": "query", "k": "key", "v": "value"}[into]

    def use(group: np.ndarray, part: np.ndarray, run: BaseRun, context: Context, held: Held) -> None:
        plan = steps([cells[i] for i in part], context, n_layers=lm.n_layers, width=run.width, suffix=1)
        order = torch.tensor(plan.order)

        def seen(call: AttentionCall) -> None:
            value = rearrange(getattr(call, name), "(cell prompt) head 1 d -> cell prompt head d", prompt=len(group))
            full = value[:1].expand(plan.started[-1], *value.shape[1:]).clone()  # senders further up say nothing here
            full[: value.shape[0]] = value
            for layer, head in receivers:
                if layer == call.layer:
                    target = carried.setdefault(
                        (layer, head), value.new_zeros(len(cells), len(sending.base), value.shape[-1])
                    )
                    target[torch.from_numpy(part)[:, None], torch.from_numpy(group)] = full[1 + order][:, :, head]

        descend(lm, run, plan, held=held, seen=seen)

    sending.descents(use)
    check_receivers(sending, receivers, into, carried)
    return carried


def _receiving_cells(
    senders: Sequence[Sender],
    receivers: Receivers,
    into: str,
    position: Position,
    carried: dict[tuple[int, int], Tensor],
) -> tuple[list[Cell], list[int]]:
    """Pass D: one cell per sender that some receiver comes after."""
    plan: list[Cell] = []
    kept: list[int] = []
    for index, (layer, _) in enumerate(senders):
        after = [receiver for receiver in receivers if receiver[0] > layer]
        if after:
            kept.append(index)
            plan.append(
                tuple(
                    Patch(site=into, layer=l, head=h, position=position, value=carried[l, h][index]) for l, h in after
                )
            )
    if not plan:
        raise InputError("no receiver comes after any sender", hint="receivers of later layers")
    return plan, kept


def _shaped(found: Answered, senders: Sequence[Sender], asked: Question, metric: str) -> Sweep:
    single = asked.single
    coordinates = {"sender": tuple(range(len(senders))), "prompt": tuple(range(found.base.shape[0]))}
    if not single:
        coordinates["token"] = tuple(range(found.base.shape[1]))
    return Sweep(
        effects=found.effects[..., 0] if single else found.effects,
        axes=tuple(coordinates),
        coordinates=coordinates,
        base=found.base[..., 0] if single else found.base,
        verification=found.verification,
        site="z",
        op="replace",
        metric=metric,
    )
