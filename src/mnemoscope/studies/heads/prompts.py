"""Sequences of the heads study, and its jobs.

`random`: distinct random tokens, repeated: nothing but copying can predict the later copies. `text`: equally long stretches of
running text, the bundled narratives or the user's own. All from one seed, so that a job can make its own batch.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mnemoscope.data import repeats
from mnemoscope.errors import DataError, UnsupportedError
from mnemoscope.measures import relation_corpora
from mnemoscope.measures.induction import Repeated, repeated_tokens
from mnemoscope.measures.relation_corpora import RelationCorpus
from mnemoscope.model.encode import encode
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, seed_of
from mnemoscope.studies.heads.config import Config

COPIES = ("trained", "reinitialised")
OPS = ("mean", "zero", "resample")
LAYERS_PER_JOB = 4
FEWEST_TEXTS = 3


def plan(config: Config, lm: LM) -> tuple[Job, ...]:
    """Scores on both corpora, ablations on random sequences, and a few sequences to show; model and control copy.

    A file of short texts with triples gives no running text: the rest is measured. Raises DataError where it gives neither,
    UnsupportedError for a file where there is no tokenizer.
    """
    if config.data is not None and lm.tokenizer is None:
        raise UnsupportedError(
            f"{config.data} is text",
            found=f"{lm.name} was loaded without a tokenizer",
            hint="give (model, tokenizer), or leave out the file: random tokens need none",
        )
    corpora = ("random", "text") if lm.tokenizer is not None and _has_text(lm, config) else ("random",)
    jobs: list[Job] = []
    for copy in COPIES:
        for corpus in corpora:
            for first in range(0, config.sequences, config.per_job):
                last = min(first + config.per_job, config.sequences)
                args = {"kind": "scores", "copy": copy, "corpus": corpus, "first": first, "last": last}
                jobs.append(Job(id=f"scores-{copy}-{corpus}-{first:04d}", args=args))
        for op in OPS:
            for first in range(0, config.ablated, config.per_job):
                for layer in range(0, lm.n_layers, LAYERS_PER_JOB):
                    block = range(layer, min(layer + LAYERS_PER_JOB, lm.n_layers))
                    layers = [one for one in block if lm.attentions[one] is not None]
                    last = min(first + config.per_job, config.ablated)
                    args = {"kind": "ablate", "copy": copy, "op": op, "first": first, "last": last, "layers": layers}
                    if layers:
                        jobs.append(Job(id=f"ablate-{copy}-{op}-{first:04d}-L{layer:03d}", args=args))
    jobs += [Job(id=f"shown-{corpus}", args={"kind": "shown", "corpus": corpus}) for corpus in corpora]
    return (*jobs, *(relation_jobs(config, lm) if lm.tokenizer is not None else ()))


def relation_jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """Relation statistics of model and control copy, a few documents a job; a corpus without a document has one job too."""
    jobs: list[Job] = []
    for name in relation_names(config):
        n = len(relation_corpus(lm, config, name).units)
        for copy in COPIES:
            for first in range(0, max(n, 1), config.documents_per_job):
                args = {
                    "kind": "relations",
                    "copy": copy,
                    "corpus": name,
                    "first": first,
                    "last": min(first + config.documents_per_job, n),
                }
                jobs.append(Job(id=f"relations-{copy}-{name}-{first:04d}", args=args))
            for first in range(0, min(n, config.caused), config.caused_per_job):
                last = min(first + config.caused_per_job, n, config.caused)
                args = {"kind": "cause", "copy": copy, "corpus": name, "first": first, "last": last}
                jobs.append(Job(id=f"cause-{copy}-{name}-{first:04d}", args=args))
    return (*jobs, *_event_jobs(config, lm), *_group_jobs(config, lm))


def _event_jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """Best events as text, corpus by corpus; ranks of the second corpus begin behind those of the first."""
    names = [name for name in relation_names(config) if relation_corpus(lm, config, name).units]
    return tuple(
        Job(id=f"events-{name}", args={"kind": "events", "corpus": name, "offset": 10 * i})
        for i, name in enumerate(names)
    )


def _group_jobs(config: Config, lm: LM) -> tuple[Job, ...]:
    """Ablations of groups of heads, chosen by the first relational corpus that has a document."""
    names = [name for name in relation_names(config) if relation_corpus(lm, config, name).units]
    jobs: list[Job] = []
    for k in config.group_sizes(lm.n_heads * lm.n_layers) if names else ():
        for first in range(0, config.random_sets, config.sets_per_job):
            last = first + config.sets_per_job
            args = {"kind": "groups", "k": k, "corpus": names[0], "first": first, "last": last}
            jobs.append(Job(id=f"groups-{k:03d}-{first:04d}", args=args))
    return tuple(jobs)


def relation_names(config: Config) -> tuple[str, ...]:
    """The relational corpora: the built-in ones, or `data` where it holds triples."""
    if config.data is None:
        return relation_corpora.KINDS
    return ("data",) if relation_corpora.has_triples(config.data) else ()


def relation_corpus(lm: LM, config: Config, name: str) -> RelationCorpus:
    """One of them as this model's tokenizer reads it; made once, though many jobs ask for it."""
    return lm.once(corpus_key(config, name), lambda: _relation_corpus(lm, config, name))


def corpus_key(config: Config, name: str) -> str:
    """What a corpus depends on besides the model."""
    file = "" if name != "data" or config.data is None else f"{config.data} of {relation_corpora.changed(config.data)}"
    return f"relations of {name} {file}: {config.documents} x {config.redraws}, seed {config.seed}"


def _relation_corpus(lm: LM, config: Config, name: str) -> RelationCorpus:
    if name == "data":
        assert config.data is not None
        found = relation_corpora.of_file(lm, config.data, documents=config.documents, redraws=config.redraws)
        return replace(found, name="data")
    return relation_corpora.built_in(
        lm, name, documents=config.documents, redraws=config.redraws, seed=seed_of(config.seed, name) % 2**31
    )


def sequences(lm: LM, config: Config, corpus: str, first: int, last: int) -> Int[Tensor, "batch pos"]:
    """Token ids of sequences first .. last - 1 of a corpus."""
    if corpus == "random":
        return repeated(lm, config, last).ids[first:last]
    return torch.tensor(_text(lm, config, last)[first:last], device=lm.device)


def repeated(lm: LM, config: Config, count: int) -> Repeated:
    """The first sequences of random tokens."""
    seed = seed_of(config.seed, "random sequences") % 2**31
    return repeated_tokens(lm, count, seed, distinct=config.distinct, copies=config.copies)


def repeated_from(lm: LM, config: Config) -> int:
    """Column at which the first copy of a random sequence has ended."""
    return repeated(lm, config, 1).front + config.distinct


def _has_text(lm: LM, config: Config) -> bool:
    try:
        _text(lm, config, min(config.sequences, FEWEST_TEXTS))
    except DataError:
        if not relation_names(config):
            raise
        return False
    return True


def _text(lm: LM, config: Config, n: int) -> list[list[int]]:
    width = min(config.text_tokens, lm.n_ctx or config.text_tokens)
    found: list[list[int]] = []
    for text in _texts(config, n):
        ids = list(encode(lm.tokenizer, text, lm.bos).ids)
        if len(ids) >= width:
            found.append(ids[:width])
        if len(found) == n:
            return found
    if len(found) < min(n, FEWEST_TEXTS):
        raise DataError(
            f"{config.data or 'the bundled text'} gives {len(found)} usable sequences",
            found=f"texts shorter than {width} tokens are left out",
            allowed=f"at least {FEWEST_TEXTS}",
            hint="give longer texts, or join short ones",
        )
    return found


def _texts(config: Config, n: int) -> list[str]:
    if config.data is not None:
        found = relation_corpora.read_file(config.data)
        return [one.text for one in found.documents or found.prompts]
    rng = np.random.default_rng(seed_of(config.seed, "narratives"))
    return [repeats.narrative(rng, sentences=40).prompt.text for _ in range(n + 4)]
