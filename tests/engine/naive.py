"""One forward pass per patch, written down with bare seams: what the engine has to agree with. No part of its planner."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from mnemoscope.model.batch import Batch, tokenize
from mnemoscope.model.lm import LM, view
from mnemoscope.model.parts import block_parts
from mnemoscope.model.seams import attention_seam, block_seam, module_seam
from mnemoscope.model.tiny import tiny

STREAM = ("resid_pre", "resid_post", "resid_mid", "attn_out", "mlp_out")
LENGTHS = (9, 12, 7)
SUBJECT = ((2, 4), (5, 7), (1, 3))
TOKENS = (3, 40, 77)


@cache
def model(name: str) -> LM:
    return view(tiny(name))


def prompts(
    lm: LM, seed: int, lengths: tuple[int, ...] = LENGTHS, spans: tuple[tuple[int, int], ...] = SUBJECT
) -> Batch:
    """Right-padded random ids with a role "subject" of two tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, lm.d_vocab, (len(lengths), max(lengths)), generator=generator)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    roles = {"subject": tuple((span,) for span in spans)}
    return replace(tokenize(lm, ids), mask=mask, spans=roles)


def sites_of(lm: LM) -> list[str]:
    mid = [] if any(part.parallel for part in block_parts(lm)) else ["resid_mid"]
    return ["resid_pre", "resid_post", *mid, "attn_out", "mlp_out", "z", "q", "k", "v"]


def run(lm: LM, ids: torch.Tensor, changes: dict, seen: dict | None = None) -> torch.Tensor:
    """Logits of one prompt alone. changes, seen: (site, layer) -> function of the value [pos (head) d] in place / value."""

    def at(site, layer, value):
        value = value.clone()
        if (site, layer) in changes:
            changes[site, layer](value)
        if seen is not None:
            seen[site, layer] = value.clone()
        return value

    stream = {}

    def before(call):
        stream["in"] = at("resid_pre", call.layer, call.resid[0])[None]
        return call.with_resid(stream["in"])

    def after(layer, resid):
        return at("resid_post", layer, resid[0])[None]

    def attend(call):
        q, k, v = (
            at(s, call.layer, x[0].transpose(0, 1)).transpose(0, 1)[None]
            for s, x in (("q", call.query), ("k", call.key), ("v", call.value))
        )
        z, pattern = call.original(call.module, q, k, v, call.mask, **call.kwargs)
        return at("z", call.layer, z[0])[None], pattern

    parts = block_parts(lm)
    modules = {f"attn {l}": p.attn.module for l, p in enumerate(parts)} | {
        f"mlp {l}": p.mlp.module for l, p in enumerate(parts)
    }

    def written(name, output):
        kind, layer = name.split()
        part = parts[int(layer)]
        writer = part.attn if kind == "attn" else part.mlp
        first = output[0] if isinstance(output, tuple) else output
        value = at(f"{kind}_out", int(layer), first.reshape(stream["in"].shape)[0] * writer.coefficient)
        if kind == "attn" and not part.parallel:
            carried = part.residual * stream["in"][0]
            value = at("resid_mid", int(layer), value + carried) - carried
        new = (value / writer.coefficient).reshape(first.shape)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    with (
        torch.no_grad(),
        block_seam(lm.blocks, before=before, after=after),
        attention_seam(lm.attention_layers, attend),
        module_seam(modules, after=written),
    ):
        return lm.model(input_ids=ids[None], use_cache=False).logits[0]


def spot(batch: Batch, prompt: int, position) -> list[int]:
    n = int(batch.lengths[prompt])
    if position == "last":
        return [n - 1]
    if position == "all":
        return list(range(n))
    if position == "subject":
        return list(range(*batch.spans["subject"][prompt][0]))
    return [p for p in ([position] if isinstance(position, int) else list(position)) if p < n]


def one_by_one(lm: LM, base: Batch, source: Batch, cells, means: dict, read) -> np.ndarray:
    """Patched minus unpatched logit of the token, [cell, prompt], one forward pass each."""
    effects = np.zeros((len(cells), len(base)))
    for b in range(len(base)):
        ids, other = base.ids[b, : base.lengths[b]], source.ids[b, : source.lengths[b]]
        recorded = {}
        run(lm, other, {}, recorded)
        plain = read(run(lm, ids, {}), b)
        for c, cell in enumerate(cells):
            changes = {}
            for patch in cell:
                changes[patch.site, patch.layer] = changed(patch, base, source, b, recorded, means, changes)
            effects[c, b] = read(run(lm, ids, changes), b) - plain
    return effects


def changed(patch, base, source, b, recorded, means, others):
    key = (patch.site, patch.layer)
    earlier = others.get(key)

    def change(value):
        if earlier is not None:
            earlier(value)
        for j, (here, there) in enumerate(
            zip(spot(base, b, patch.position), spot(source, b, patch.position), strict=True)
        ):
            index = (here,) if patch.head is None else (here, patch.head)
            origin = (there,) if patch.head is None else (there, patch.head)
            if patch.op == "replace":
                value[index] = recorded[key][origin]
            elif patch.op == "mean":
                value[index] = means[key, patch.position][j if patch.head is None else (j, patch.head)]
            elif patch.op == "zero":
                value[index] = 0
            elif patch.op == "add":
                value[index] = value[index] + patch.value
            else:
                value[index] = value[index] * patch.value

    return change


def dataset_means(lm: LM, source: Batch, position) -> dict:
    total = {}
    for b in range(len(source)):
        recorded = {}
        run(lm, source.ids[b, : source.lengths[b]], {}, recorded)
        for key, value in recorded.items():
            total[key, position] = total.get((key, position), 0) + value[spot(source, b, position)] / len(source)
    return total


def width(lm: LM, site: str) -> int:
    return lm.d_model if site in STREAM else lm.d_head if site in ("q", "k") else lm.d_value


def last_logit(logits, b):
    return float(logits[-1, TOKENS[b]])
