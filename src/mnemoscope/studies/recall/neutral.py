"""Neutral text: what the last layer does when no fact is asked, and how often tokens occur.

Narratives of the bundled generator (`mnemoscope.data.repeats`): nothing in them asks for a fact. Counts are taken over more of
them and over plain statements.
"""

from typing import Final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mnemoscope.data.corpus import built_in
from mnemoscope.data.repeats import narrative
from mnemoscope.errors import DataError
from mnemoscope.measures.frequency import token_counts
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM
from mnemoscope.results.job import seed_of
from mnemoscope.studies.recall.config import Config

CORPUS: Final = "built-in narratives and statements"
DOCUMENTS, WIDTH = 24, 64  # neutral texts, tokens of each
FIRST = 8  # positions before it have seen too little text
COUNTED = 80  # narratives, and as many documents of statements, whose tokens are counted


def neutral_ids(lm: LM, config: Config) -> Int[Tensor, "document pos"]:
    """Token ids of the neutral texts, all of one length; special tokens in front are part of it."""
    width = min(WIDTH, lm.n_ctx or WIDTH)
    rows: list[list[int]] = []
    for number in range(DOCUMENTS):
        rng = np.random.default_rng(seed_of(config.seed, f"neutral {number}"))
        ids = encode(lm.tokenizer, narrative(rng, sentences=30).prompt.text, lm.bos).ids
        if len(ids) >= width:
            rows.append(list(ids[:width]))
    if width <= FIRST + 1 or not rows:
        raise DataError(f"{lm.name} cannot read neutral texts", found=f"context {lm.n_ctx}", allowed=f"> {FIRST + 1}")
    return torch.tensor(rows, device=lm.device)


def counts(lm: LM, config: Config) -> Int[np.ndarray, " d_vocab"]:
    """How often tokens occur in `CORPUS`. Counted once per model and seed."""
    return lm.once(f"recall: counts {config.seed}", lambda: token_counts(lm, _texts(config.seed)))


def _texts(seed: int) -> list[str]:
    rng = np.random.default_rng(seed_of(seed, "counted"))
    told = [narrative(rng).prompt.text for _ in range(COUNTED)]
    stated = [
        doc.text for kind in ("letters", "things") for doc in built_in(kind, documents=COUNTED, seed=seed).documents
    ]
    return [*told, *stated]
