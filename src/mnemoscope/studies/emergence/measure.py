"""What a job of the emergence study measures: one checkpoint, one measure, one value per unit. All inference is in `summarise`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from mnemoscope.errors import DataError, LoadError, MnemoscopeError, PromptError, listed
from mnemoscope.measures.icl_levels import chance, fitting, label_scores, text_losses
from mnemoscope.measures.induction import induction_scores, repeated_tokens
from mnemoscope.measures.relation_documents import Statistics, attending, relation_statistics
from mnemoscope.model.lm import LM
from mnemoscope.results.job import Job, seed_of
from mnemoscope.results.schema.emergence import CHECKPOINTS, HEAD_UNITS, LEVEL_UNITS, PASS_UNITS, RELATION_UNITS, SLICES
from mnemoscope.studies.emergence import prompts
from mnemoscope.studies.emergence.config import Config
from mnemoscope.studies.head_rows import head_rows

Rows = list[dict[str, Any]]
ALONE = ("argmax", "free")  # slices of one relation alone
UNITS = {"relation_units": RELATION_UNITS.schema, "pass_units": PASS_UNITS.schema}
Measured = tuple[dict[str, pl.DataFrame], int, str]  # tables, units, note


def measure(job: Job, config: Config, models: Callable[..., LM]) -> dict[str, pl.DataFrame]:
    """Do one job of the plan."""
    args = job.args
    lm = models(args["revision"])
    point = {"copy": args["copy"], "series": args["series"], "step": args["step"]}
    kind, _, corpus = str(args["measure"]).partition("-")
    if kind == "relations":
        anchor = None if args["anchor"] is None else lambda: models(args["anchor"])
        tables, n, note = _relations(lm, config, corpus, anchor, point)
    else:
        tables, n, note = {"texts": _texts, "tasks": _tasks, "attention": _attention}[kind](lm, config, point)
    row = {
        **point,
        "checkpoint": args["name"],
        "measure": args["measure"],
        "weights": _weights(lm),
        "n_units": n,
        "note": note,
    }
    return {**tables, "checkpoints": pl.DataFrame([row], schema=CHECKPOINTS.schema)}


def _weights(lm: LM) -> str:
    facts = dict(lm.source)
    return str(facts.get("commit") or next((v for k, v in sorted(facts.items()) if k.endswith(".safetensors")), ""))


def _texts(lm: LM, config: Config, point: Mapping[str, Any]) -> Measured:
    """Loss and loss reduction of every text."""
    found = text_losses(lm, prompts.texts(config))
    n = min(len(found.loss), config.texts)
    rows = [
        {
            **point,
            "quantity": quantity,
            "task": "text",
            "shots": -1,
            "unit": f"text:{i:04d}",
            "value": float(values[i]),
            "chance": level,
            "n": tokens if values[i] == values[i] else 0,
        }
        for quantity, values, level, tokens in (
            ("loss", found.loss, float(np.log(lm.d_vocab)), found.within.length - 1),
            ("loss_reduction", found.reduction, 0.0, 21),
        )
        for i in range(n)
    ]
    note = "; ".join(
        part
        for part in (
            found.within.reason,
            "" if n else f"no text has the {found.within.length} tokens that are needed",
        )
        if part
    )
    return {"level_units": pl.DataFrame(rows, schema=LEVEL_UNITS.schema)}, n, note


def _tasks(lm: LM, config: Config, point: Mapping[str, Any]) -> Measured:
    """Format, pattern and their kin on every few-shot task: means over the queries of a prompt set."""
    frames: list[pl.DataFrame] = []
    notes: list[str] = []
    for task in prompts.tasks(config):
        try:
            asked, long = fitting(lm, prompts.prompts(config, task))
            if long:
                notes.append(f"{task.name}: {listed(map(str, long))} shots are longer than the context")
            if asked:
                frames.append(_one_task(lm, task.name, asked, point))
        except (PromptError, DataError) as error:
            notes.append(f"{task.name} cannot be asked: {error}")
    rows = pl.concat(frames) if frames else pl.DataFrame(schema=LEVEL_UNITS.schema)
    return {"level_units": rows}, rows["unit"].n_unique(), "; ".join(notes)


def _one_task(lm: LM, task: str, asked: Any, point: Mapping[str, Any]) -> pl.DataFrame:
    found = label_scores(lm, asked)
    levels = [chance(prompt) for prompt in asked]
    frame = pl.DataFrame(
        {
            "shots": [int(prompt.labels["shots"]) for prompt in asked],
            "unit": [str(prompt.labels["set"]) for prompt in asked],
            **{name: getattr(found, name) for name in ("format", "pattern", "restricted", "legal", "right")},
        }
    )
    parts = []
    for name in ("format", "pattern", "restricted", "legal", "right"):
        base = [level.get({"right": "pattern", "legal": ""}.get(name, name), 0.0) for level in levels]
        parts.append(
            frame.select("shots", "unit", value=pl.col(name).fill_nan(None), chance=pl.Series(base))
            .group_by("shots", "unit", maintain_order=True)
            .agg(pl.col("value").mean(), pl.col("chance").mean(), n=pl.col("value").count().cast(pl.Int64))
            .with_columns(pl.col("value").fill_null(float("nan")), quantity=pl.lit(name))
        )
    constants = [pl.lit(value, LEVEL_UNITS.schema[name]).alias(name) for name, value in point.items()]
    whole = pl.concat(parts).with_columns(*constants, task=pl.lit(task)).select(list(LEVEL_UNITS.schema))
    return whole.cast(LEVEL_UNITS.schema)


def _attention(lm: LM, config: Config, point: Mapping[str, Any]) -> Measured:
    """Prefix matching, previous token and copying of every head on repeated random tokens."""
    seed = seed_of(config.seed, "random sequences")
    try:
        repeated = repeated_tokens(lm, config.sequences, seed, distinct=config.distinct, copies=config.copies)
    except DataError as error:
        return {"head_units": pl.DataFrame(schema=HEAD_UNITS.schema)}, 0, str(error)
    names = [f"random:{i:04d}" for i in range(len(repeated.ids))]
    rows = (
        head_rows(lm, HEAD_UNITS, score, found, names, unit="unit", **point)
        for score, found in induction_scores(lm, repeated).items()
    )
    return {"head_units": pl.concat(rows)}, len(repeated.ids), ""


def _relations(
    lm: LM, config: Config, name: str, anchor: Callable[[], LM] | None, point: Mapping[str, Any]
) -> Measured:
    """The relation index on one corpus; `held` are the opportunities at which heads of the last checkpoint attend."""
    corpus = prompts.corpus(config, lm, name)
    if corpus.reason:
        return {table: pl.DataFrame(schema=schema) for table, schema in UNITS.items()}, 0, corpus.reason
    texts = corpus.texts(lm)
    note, held = "", None
    if anchor is not None:
        try:
            held = attending(anchor(), texts)
        except (LoadError, MnemoscopeError, OSError) as error:
            note = f"no fixed events of the last checkpoint: {error}"
    found = relation_statistics(lm, texts, held=held, attending_rates=True)
    constants = [pl.lit(value, PASS_UNITS.schema[key]).alias(key) for key, value in point.items()]
    written = {"relation_units": pooled(found), "pass_units": pooled_rates(found.rates)}
    made = {
        table: rows.with_columns(*constants, corpus=pl.lit(name)).select(list(UNITS[table]))
        for table, rows in written.items()
    }
    return made, len(corpus.units), note


def pooled(found: Statistics) -> pl.DataFrame:
    """Rows per document, head, slice and variant over the triples of all relations, and of each relation in its primary variant.

    Triples weigh alike within a document. Over all relations: means of the relations' means, weighted with their triples: those
    that pass for shares given passing, all that have an opportunity for rates.
    """
    key = ["document", "layer", "head", "slice", "variant"]
    total = found.opportunities.group_by("document", maintain_order=True).agg(of=pl.col("triples_other").sum())
    each = (
        found.documents.filter(pl.col("slice").is_in(SLICES))
        .join(found.opportunities.select("document", "relation", "triples_other"), on=["document", "relation"])
        .join(total, on="document")
    )

    def given(name: str) -> pl.Expr:
        value, weight = pl.col(name).fill_nan(None), pl.col("triples")
        return ((value * weight).sum() / weight.filter(value.is_not_null()).sum()).fill_null(float("nan")).alias(name)

    def rate(name: str) -> pl.Expr:
        return ((pl.col(name).fill_nan(0.0) * pl.col("triples_other")).sum() / pl.col("of").first()).alias(name)

    shares = [given(name) for name in ("index", "null", "percentile")]
    rates = [rate(name) for name in ("per_opportunity", "null_per_opportunity")]
    grouped = each.group_by(key, maintain_order=True).agg(pl.col("n").sum(), *shares, *rates)
    whole = grouped.with_columns(relation=pl.lit("all"))
    alone = found.documents.filter(pl.col("slice").is_in(ALONE) & (pl.col("variant") == "ctx_src"))
    both = pl.concat([whole, alone.select(whole.columns)])
    return both.rename({"document": "unit"})


def pooled_rates(rates: pl.DataFrame) -> pl.DataFrame:
    """Pass rates per document, head and gate over the triples of all relations (triples alike), and of each relation."""
    names = ("pass_rate", "null_pass_rate")
    mean = [(pl.col(name) * pl.col("triples")).sum() / pl.col("triples").sum() for name in names]
    grouped = rates.group_by("document", "layer", "head", "slice", maintain_order=True)
    whole = grouped.agg(pl.col("triples").sum(), *mean).with_columns(relation=pl.lit("all"))
    both = pl.concat([whole, rates.filter(pl.col("slice").is_in(ALONE)).select(whole.columns)])
    return both.rename({"document": "unit", "triples": "n"})
