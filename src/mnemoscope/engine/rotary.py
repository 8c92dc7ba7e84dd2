"""Queries and keys that carry their position: what may not be averaged, added, or taken from somewhere else.

Under rotary embedding q and k are turned by the position of their token. A value from another position, or a mean over
several, is no query or key of the position it is put into; such patches are refused instead of measured.
"""

from collections.abc import Mapping, Sequence, Set

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mnemoscope.engine.plan import Patch, Places, Spot
from mnemoscope.errors import UnsupportedError, listed
from mnemoscope.model.lm import LM
from mnemoscope.model.padding import takes_positions
from mnemoscope.model.seams import AttentionCall, BlockCall, attention_seam, block_seam
from mnemoscope.model.structure import text_decoder

_FAR = 3  # positions apart


def rotary_layers(lm: LM) -> frozenset[int]:
    """Layers whose keys depend on the token's position; found once, with one token at two positions.

    A lone token attends to itself whatever its query is, so its residual stream is the same at both positions (unless
    positions are added to the embedding, which is no rotation); a key that differs all the same has been rotated.
    """
    return lm.once("rotary layers", lambda: _rotary(lm))


def _rotary(lm: LM) -> frozenset[int]:
    if not takes_positions(lm):
        return frozenset()
    stream, keys = _lone_token(lm, 0)
    moved_stream, moved_keys = _lone_token(lm, _FAR)
    if not torch.allclose(stream, moved_stream):
        return frozenset()
    return frozenset(layer for layer in keys if not torch.allclose(keys[layer], moved_keys[layer], rtol=1e-3))


@torch.no_grad()
def _lone_token(lm: LM, position: int) -> tuple[Tensor, dict[int, Tensor]]:
    """The stream into the first block, and each layer's key, of one token at a position."""
    streams: list[Tensor] = []
    keys: dict[int, Tensor] = {}

    def before(call: BlockCall) -> None:
        streams.append(call.resid.clone())

    def attend(call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        keys[call.layer] = call.key.clone()
        return call()

    ids = torch.full((1, 1), 1 % lm.d_vocab, device=lm.device)
    where = torch.full_like(ids, position)
    with block_seam(lm.blocks, before=before), attention_seam(lm.attention_layers, attend):
        text_decoder(lm.model)(input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=where, use_cache=False)
    return streams[0], keys


def _turned(lm: LM, wants: Mapping[str, Set[int]]) -> list[str]:
    return [site for site in ("q", "k") if site in wants and wants[site] & rotary_layers(lm)]


def refuse_moved(lm: LM, patches: Sequence[Patch], spots: Mapping[Spot, Places]) -> None:
    """Raise for q and k that are added to, or taken from another position, in layers that rotate them."""
    asked = [p for p in patches if p.site in ("q", "k") and (p.op == "add" or p.spot[1] >= 0)]
    for spot, op in dict.fromkeys((patch.spot, patch.op) for patch in asked):
        place = spots[spot]
        if op != "add" and np.array_equal(place.into, place.out_of):
            continue
        own = [p for p in asked if (p.spot, p.op) == (spot, op)]
        turned = _turned(lm, {site: {p.layer for p in own if p.site == site} for site in ("q", "k")})
        if turned:
            raise _refused(turned, f"{op} at {spot[0]!r}, where base and source positions differ or are many")


def refuse_moved_mean(
    lm: LM,
    wants: Mapping[str, Set[int]],
    into: Int[np.ndarray, "prompt place"],
    there: Int[np.ndarray, "source_prompt source_place"],
) -> None:
    """Raise for means of q and k over different positions, in layers that rotate them."""
    turned = _turned(lm, wants)
    places = {tuple(row[row >= 0].tolist()) for row in (*into, *there)}
    if turned and len(places) > 1:
        raise _refused(turned, "a mean over positions " + listed(map(str, sorted(places)), most=4))


def _refused(sites: Sequence[str], found: str) -> UnsupportedError:
    return UnsupportedError(
        f"{' and '.join(sites)} are turned by their position (rotary embedding)",
        found=found,
        allowed="replace, zero and scale; values from the same position",
        hint="site z or v, or prompts of equal length",
    )
