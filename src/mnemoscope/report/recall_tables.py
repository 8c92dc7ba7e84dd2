"""The tables of the recall section that one reads: knowledge, roles, shots, what was left out."""

import polars as pl

from mnemoscope.report.section import Grid


def knowledge_table(table: pl.DataFrame) -> Grid:
    """Every relation with every number of demonstrations."""
    shown = table.filter((pl.col("template") == -1) & (pl.col("copy") == "trained")).with_columns(
        relation=pl.when(pl.col("relation") == "").then(pl.lit("all")).otherwise(pl.col("relation"))
    )
    wide = shown.pivot(
        on="measure", index=["relation", "shots", "n", "n_units"], values="estimate", aggregate_function="first"
    )
    names = [
        name for name in ("accuracy", "choice", "probability", "log10_rank", "pi", "known") if name in wide.columns
    ]
    return Grid(
        id="knowledge-table",
        title="Knowledge by relation and demonstrations",
        caption="n counts prompts. With demonstrations one template is asked, without all of them. pi: logit of the "
        "answer above the vocabulary's mean.",
        data=wide.select("relation", "shots", *names, "n", "n_units").sort("relation", "shots"),
        labels={"shots": "Demonstrations", "n_units": "Topics", "log10_rank": "log10(1 + rank)", "n": "Prompts"},
    )


def roles(table: pl.DataFrame) -> Grid:
    """Each chosen head with each part of the evidence."""
    shown = table.filter((pl.col("copy") == "trained") & (pl.col("half") != "both") & (pl.col("layer") >= 0))
    columns = (
        "role",
        "half",
        "layer",
        "head",
        "evidence",
        "estimate",
        "low",
        "high",
        "chance",
        "p",
        "needed",
        "shown",
        "n_units",
    )
    return Grid(
        id="roles",
        title="Roles, part by part",
        caption="Heads chosen on one half of the topics, measured on the other. A role stands where every part that "
        "it needs is shown: its interval lies beyond the smallest effect of interest.",
        data=shown.select(columns).with_columns(
            pl.col("needed", "shown").replace_strict({True: "yes", False: "no"}, return_dtype=pl.String)
        ),
        labels={"half": "Measured on", "p": "p (Holm)", "n_units": "Topics"},
        most=20,
        picks=True,
    )


def shots(table: pl.DataFrame) -> Grid:
    """Zero against few shots."""
    return Grid(
        id="shots",
        title="Zero against few demonstrations",
        caption="Correlations over heads between the zero-shot map of one half of the topics and the few-shot map of "
        "the other half; the ceiling is what maps of this reliability can reach. overlap: shared strongest "
        "heads. larger: how much more the answer loses (logits).",
        data=table.select("shots", "measure", "estimate", "low", "high", "ceiling", "chance", "n_units", "method"),
        labels={"shots": "Demonstrations", "n_units": "Topics"},
    )


def left_out(table: pl.DataFrame) -> Grid:
    """What was not asked, and why."""
    return Grid(
        id="left-out",
        title="Left out",
        caption="What could not be asked or measured. The rest went on.",
        data=table.sort("reason", "id"),
        most=8,
    )
