"""What the heads study found about relations, in sentences with numbers. No torch."""

from collections.abc import Mapping
from typing import Any

import polars as pl

Tables = Mapping[str, pl.DataFrame]


def headlines(tables: Tables) -> list[str]:
    """Corpus by corpus: the strongest head and its control, how many stand out, what predicts the effect; then groups, left out."""
    relations = tables["relations"]
    corpora = relations["corpus"].unique(maintain_order=True).to_list()
    texts = [line for corpus in corpora for line in _corpus(tables, corpus)]
    if "relation_group_effects" in tables:
        texts += _groups(tables["relation_group_effects"])
    left = tables.get("relation_left_out")
    if left is None:
        return texts
    whole = pl.col("part") == "not testable"
    texts += [f"{row['corpus']}: not measured: {row['reason']}." for row in left.filter(whole).iter_rows(named=True)]
    left = left.filter(~whole)
    if left.height:
        reasons = (
            left.group_by("reason", maintain_order=True)
            .agg(pl.col("n").sum())
            .sort("n", "reason", descending=[True, False])
        )
        listed = "; ".join(f"{n} {reason}" for reason, n in reasons.head(4).iter_rows())
        texts.append(f"Left out of the relational corpora: {left['n'].sum()} things ({listed}).")
    return texts


def verdicts(claims: pl.DataFrame) -> str:
    """How many claims came out how."""
    counts = claims["verdict"].value_counts(sort=True).sort("count", "verdict", descending=[True, False])
    return f"Of {claims.height} claims " + ", ".join(f"{n} {word}" for word, n in counts.iter_rows()) + "."


def _corpus(tables: Tables, corpus: str) -> list[str]:
    here = tables["relations"].filter((pl.col("corpus") == corpus) & (pl.col("variant") == "out"))
    best, control = (_best(here.filter(pl.col("copy") == copy)) for copy in ("trained", "reinitialised"))
    if best is None:
        return [f"{corpus}: no cell is supported by enough documents and tails."]
    trained = here.filter((pl.col("copy") == "trained") & pl.col("supported"))
    tested = not trained["p_maxt"].is_nan().all()
    beyond = trained.filter(((pl.col("p_maxt") < 0.05) & (pl.col("estimate") > 0)) if tested else pl.col("low") > 0)
    how = "stand out (max-T)" if tested else "have an interval above 0 (each by itself: no corrected p here)"
    p = f", p {best['p_maxt']:.4f} (max-T)" if tested else ""
    chances = tables["relation_opportunities"].filter((pl.col("copy") == "trained") & (pl.col("corpus") == corpus))
    other = "" if control is None else f"; best of the re-initialised copy {control['estimate']:+.3f}"
    return [
        f"{corpus}: attending to the head word, L{best['layer']}H{best['head']} promotes the tail of {best['relation']} most: "
        f"RI-out {best['index']:.3f} against {best['null']:.3f} of matched rivals, excess {best['estimate']:+.3f} "
        f"[{best['low']:.3f}, {best['high']:.3f}], {best['n_units']} documents{p}{other}.",
        f"{corpus}: {beyond.height} of {trained.height} supported cells (head x relation) {how}; median pass rate at tau 2.2 "
        f"{trained['pass_rate'].median():.3f}; the model's own tau is {chances['tau_star'][0]:.1f}.",
        *_link(tables, corpus),
    ]


def _best(rows: pl.DataFrame) -> dict[str, Any] | None:
    kept = rows.filter(pl.col("supported") & pl.col("estimate").is_not_nan())
    return kept.sort("estimate", descending=True).row(0, named=True) if kept.height else None


def _link(tables: Tables, corpus: str) -> list[str]:
    rows = tables["relation_links"].filter(
        (pl.col("copy") == "trained")
        & (pl.col("corpus") == corpus)
        & (pl.col("within") == "all")
        & pl.col("score").is_in(["ri_out", "ri_out_per_opportunity"])
        & pl.col("estimate").is_not_nan()
    )
    return [
        f"{corpus}: rank correlation over {row['n']} heads of RI-out with the effect on the tail, "
        f"{'given the gate' if row['pairing'] == 'passing' else 'per opportunity'}: {row['estimate']:.2f} "
        f"[{row['low']:.2f}, {row['high']:.2f}], "
        + (
            f"ceiling {row['ceiling']:.2f}."
            if row["ceiling"] == row["ceiling"]
            else "no ceiling: a map is not reproducible."
        )
        for row in rows.sort("pairing").iter_rows(named=True)
    ]


def _groups(effects: pl.DataFrame) -> list[str]:
    k = effects["k"].max()
    rows = effects.filter((pl.col("k") == k) & (pl.col("level") == "right") & (pl.col("op") == "mean"))
    rows = rows.filter((pl.col("against") == "nothing") & pl.col("estimate").is_not_nan())
    return [
        f"Without {len(row['heads'].split())} {row['group'].replace('_', ' ')} heads ({row['heads']}) the right label's share "
        f"changes by {row['estimate']:+.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        + (
            f"; layer-matched random sets {row['random_mean']:+.3f} (p {row['p_sets']:.2f} over {row['n_sets']})"
            if row["n_sets"]
            else ""
        )
        + f"; {row['overlap']} of them are ordinary induction heads."
        for row in rows.sort("group", descending=True).iter_rows(named=True)
    ]
