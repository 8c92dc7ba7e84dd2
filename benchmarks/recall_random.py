"""Random weights: how often does a step of the recall study report an effect that cannot be there?

    python -m benchmarks.recall_random [--seeds 100] [--first 0] [--quick] [--out counts.json]

A tiny model with random weights is asked the prompts of a planted fact circuit. It knows nothing, so the study would stop behind
step 1; here it is told that it knows every relation, and goes through all steps with all of their inference. Counted per seed:
which claims come out supported, and in which maps any head or MLP has a max-T corrected p of at most .05 (B2.1: nominal .05 per
map). Rates with exact binomial intervals. Answers are drawn at random for every seed, so no head can be about them.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import polars as pl
import torch

from mnemoscope.data import jsonl
from mnemoscope.model.lm import LM, view
from mnemoscope.model.tiny import tiny
from mnemoscope.reference import planted
from mnemoscope.results.job import canonical
from mnemoscope.stats.proportion import exact
from mnemoscope.studies.recall.asking import asked
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.measure import measure
from mnemoscope.studies.recall.prompts import plan
from mnemoscope.studies.recall.summarise import summarise

SIZES = {"topics": 12, "relations": 2, "templates": 3}
NOMINAL = 0.05
MAP = ["method", "receiver", "shots"]


def studied(seed: int, family: str = "llama") -> Mapping[str, pl.DataFrame]:
    """All tables of a study of random weights that believes in knowing every relation."""
    made = planted("recall", seed=seed, noise=0.0, **SIZES)
    lm = view(tiny(family, seed=seed, vocab_size=len(made.tokenizer)), made.tokenizer, name="random")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "facts.jsonl"
        jsonl.write(path, made.prompts)
        config = Config(data=str(path), templates=1, seed=seed)
        return _tables(lm, config)


def _tables(lm: LM, config: Config) -> Mapping[str, pl.DataFrame]:
    names = tuple(one.name for one in asked(lm, config)[0])
    lm.once(f"recall: known relations {canonical(asdict(config))}", lambda: names)
    parts: dict[str, list[pl.DataFrame]] = {}
    for job in plan(config, lm):
        if job.args.get("copy", "trained") == "trained" and job.args["kind"] != "shown":
            for name, frame in measure(job, config, lambda *_: lm).items():
                parts.setdefault(name, []).append(frame)
    raw = {name: pl.concat(frames) for name, frames in parts.items()}
    return {**raw, **summarise(raw, config)}


def found(tables: Mapping[str, pl.DataFrame]) -> dict[str, str | bool | None]:
    """Claim -> verdict; map -> whether any of its cells has a corrected p of at most .05; None: no cell was tested."""
    claims = {claim.split()[0]: word for claim, word in tables["claims"].select("claim", "verdict").iter_rows()}
    every = tables["effects"].filter(pl.col("facts") == "all")
    maps: dict[str, str | bool | None] = {}
    for key, some in every.group_by(MAP, maintain_order=True):
        tested = some.filter(pl.col("p_maxt").is_not_nan())
        name = "max-T " + " ".join(str(part) for part in key)
        maps[name] = bool((tested["p_maxt"] <= NOMINAL).any()) if tested.height else None
    return {**claims, **maps}


def rates(seeds: list[dict[str, str | bool | None]]) -> list[dict[str, object]]:
    """One row per claim and map: how many, out of how many that could be tested, with the exact 95% interval."""
    rows: list[dict[str, object]] = []
    for name in sorted({name for seed in seeds for name in seed}):
        words = [seed[name] for seed in seeds if seed.get(name) is not None]
        able = [word for word in words if word != "not testable"]
        hits = sum(word in (True, "supported") for word in able)
        one = exact(hits, len(able))
        others = Counter(word for word in words if isinstance(word, str))
        rows.append(
            {"what": name, "hits": hits, "tested": len(able), "of": len(seeds), "rate": one.estimate}
            | {"low": one.low, "high": one.high, "verdicts": dict(sorted(others.items()))}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="3 seeds")
    parser.add_argument(
        "--out", type=Path, default=None, help="append one JSON line per seed; seeds there are not run again"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    done: dict[int, dict[str, str | bool | None]] = {}
    if options.out is not None and options.out.exists():
        done = {one["seed"]: one["found"] for one in map(json.loads, options.out.read_text().splitlines())}
    for seed in range(options.first, options.first + (3 if options.quick else options.seeds)):
        if seed not in done:
            done[seed] = found(studied(seed))
            if options.out is not None:
                with options.out.open("a") as file:
                    file.write(json.dumps({"seed": seed, "found": done[seed]}) + "\n")
    for row in rates(list(done.values())):
        print(
            f"{row['what']}: {row['hits']} of {row['tested']} tested ({row['of']} seeds), rate {row['rate']:.3f} "
            f"[{row['low']:.3f}, {row['high']:.3f}] {row['verdicts'] or ''}"
        )


if __name__ == "__main__":
    main()
