"""What the recall study infers. No torch."""

from collections.abc import Mapping

import polars as pl

from mnemoscope.results.schema.shared import CLAIMS, HEADLINES
from mnemoscope.studies.recall import mlp_summary
from mnemoscope.studies.recall.config import Config


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """All inferred tables, claims and headlines."""
    found: dict[str, pl.DataFrame] = {}
    later = mlp_summary.summarise(dict(tables), config)
    claims = pl.concat([pl.DataFrame(schema=CLAIMS.schema), later.pop("claims", pl.DataFrame(schema=CLAIMS.schema))])
    return {**found, **later, "claims": claims, "headlines": pl.DataFrame(schema=HEADLINES.schema)}
