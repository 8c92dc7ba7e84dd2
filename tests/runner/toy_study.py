"""A study without a model, for tests of the runner: forty draws per job, some jobs made to fail. Also a program."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mnemoscope.results.job import Job, seed_of
from mnemoscope.results.schema import shared
from mnemoscope.results.schema.table import Column, Table
from mnemoscope.runner import Source, Study, run

DRAWS = Table(
    doc="one row per draw",
    columns=(
        Column("job", pl.String, "", "who drew"),
        Column("draw", pl.Int64, "", "which"),
        Column("value", pl.Float64, "", "what"),
    ),
    key=("job", "draw"),
)
MEANS = Table(
    doc="one row per job",
    columns=(
        Column("job", pl.String, "", "who drew"),
        Column("estimate", pl.Float64, "", "mean"),
        Column("n", pl.Int64, "draws", "how many"),
        Column("reason", pl.String, "", "why nan"),
    ),
    key=("job",),
)


@dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0
    limit: int | None = None
    data: str | None = None
    jobs: int = 12
    seconds: float = 0.0
    fail: tuple[str, ...] = ()


def plan(config: Config, lm: object) -> tuple[Job, ...]:
    return tuple(Job(id=f"job-{i:02d}", args={"i": i, "seconds": config.seconds}) for i in reversed(range(config.jobs)))


def measure(job: Job, config: Config, models: object) -> dict[str, pl.DataFrame]:
    time.sleep(config.seconds)
    if job.id in config.fail:
        raise ZeroDivisionError(f"{job.id} was told to\nfail")
    values = np.random.default_rng(seed_of(config.seed, job.id)).normal(size=40)
    return {"draws": pl.DataFrame({"job": [job.id] * 40, "draw": range(40), "value": values})}


def summarise(tables: dict[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    means = tables["draws"].group_by("job").agg(estimate=pl.col("value").mean(), n=pl.len().cast(pl.Int64))
    return {
        "means": means.with_columns(reason=pl.lit("")),
        "headlines": pl.DataFrame(
            {"order": [0], "text": [f"{means.height} jobs drew {tables['draws'].height} numbers."]}
        ),
    }


def study() -> Study:
    tables = {**shared.TABLES, "draws": DRAWS, "means": MEANS}
    return Study(name="toy", config=Config, plan=plan, measure=measure, summarise=summarise, tables=tables)


def source(name: str = "toymodel", **identity: str) -> Source:
    return Source(name=name, identity={"weights": "none", **identity}, load=lambda revision: revision or "lm")


def toy(out: Path, **options: object) -> object:
    return run(study(), source(), out=out, quiet=True, threads=1, **options)


if __name__ == "__main__":  # one run, to be killed: python toy_study.py OUT SECONDS
    import mnemoscope.runner.one

    mnemoscope.runner.one.own_version = lambda: "the version under test"
    print("ready", flush=True)
    toy(Path(sys.argv[1]), seconds=float(sys.argv[2]))
