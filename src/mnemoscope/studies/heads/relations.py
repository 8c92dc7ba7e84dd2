"""What a job of the heads study writes about relations: sufficient statistics of some documents of one corpus."""

from collections.abc import Iterable

import polars as pl

from mnemoscope.data.leftout import LeftOut
from mnemoscope.measures.relation_corpora import RelationCorpus
from mnemoscope.measures.relation_documents import BATCH, relation_statistics, tau_star
from mnemoscope.measures.relation_texts import relation_text
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job
from mnemoscope.results.schema import relations as schema
from mnemoscope.studies.heads.config import Config
from mnemoscope.studies.heads.prompts import corpus_key, relation_corpus


def measure(lm: LM, config: Config, job: Job) -> dict[str, pl.DataFrame]:
    """Relation index of all heads on documents first .. last - 1; what had to be left out is listed once, by the model."""
    args = job.args
    corpus = relation_corpus(lm, config, args["corpus"])
    texts = corpus.texts(lm, args["first"], args["last"])
    star = lm.once(f"tau* on {corpus_key(config, args['corpus'])}", lambda: tau_star(lm, gauge(lm, corpus)))
    found = relation_statistics(
        lm, texts, tau_star=star, draws=config.draws, seed=config.seed, positions=config.positions
    )
    place = {"copy": pl.lit(args["copy"]), "corpus": pl.lit(args["corpus"])}
    written = {
        "relation_opportunities": found.opportunities.with_columns(tau_star=pl.lit(star), **place),
        "relation_documents": found.documents.with_columns(**place),
        "relation_triples": found.triples.with_columns(**place),
    }
    if args["copy"] == "trained":
        written["relation_left_out"] = _left_out(args["corpus"], corpus, texts, job.id, args["first"] == 0)
    return {name: frame.select(list(schema.TABLES[name].schema)) for name, frame in written.items()}


def gauge(lm: LM, corpus: RelationCorpus):
    """The texts from which a model's own tau is read."""
    return tuple(relation_text(lm, one, corpus.frequency) for one in corpus.documents[:BATCH])


def _left_out(name: str, corpus: RelationCorpus, texts, job: str, first: bool) -> pl.DataFrame:
    rows = _counted(name, job, (one for text in texts for one in text.left_out))
    if first:
        rows += _counted(name, "corpus", corpus.left_out)
        rows += _counted(name, "not testable", [LeftOut(id=name, reason=corpus.reason)] if corpus.reason else [])
    return pl.DataFrame(rows, schema=schema.RELATION_LEFT_OUT.schema)


def _counted(name: str, part: str, things: Iterable[LeftOut]) -> list[dict]:
    found: dict[str, list[LeftOut]] = {}
    for one in things:
        found.setdefault(one.reason, []).append(one)
    return [
        {"corpus": name, "part": part, "reason": reason, "n": len(ones), "example": str(ones[0])}
        for reason, ones in found.items()
    ]
