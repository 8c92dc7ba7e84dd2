"""What the recall study infers: knowledge, places, carriers, roles, shots, claims and headlines. No torch.

Steps about MLPs and the last layer are in `mlp_summary`; their claims stand behind ours. A model that knows nothing has the table
of knowledge, and claims that could not be tested.
"""

from collections.abc import Mapping

import polars as pl

from mnemoscope.results.schema.shared import CLAIMS
from mnemoscope.studies.recall import mlp_summary
from mnemoscope.studies.recall.carriers_summary import effects
from mnemoscope.studies.recall.claims import claims, unmeasured, untestable
from mnemoscope.studies.recall.config import Config
from mnemoscope.studies.recall.headlines import headlines
from mnemoscope.studies.recall.knowledge_summary import knowledge, known
from mnemoscope.studies.recall.location_summary import components, lens
from mnemoscope.studies.recall.movers_summary import evidence
from mnemoscope.studies.recall.shots_summary import shots


def summarise(tables: Mapping[str, pl.DataFrame], config: Config) -> dict[str, pl.DataFrame]:
    """All inferred tables, claims and headlines."""
    found: dict[str, pl.DataFrame] = {"knowledge": knowledge(tables["knowledge_prompts"])}
    own = untestable(unmeasured(tables.get("left_out")))
    if "effect_prompts" in tables:
        told = known(tables["knowledge_prompts"])
        found["lens"] = lens(tables["lens_prompts"], told)
        found["components"] = components(tables["component_prompts"], told)
        found["effects"] = effects(tables["effect_prompts"], told, config)
        found["roles"] = evidence(tables)
        found["shots"] = shots(tables["effect_prompts"], config)
        own = claims(tables, found["roles"], found["shots"])
    later = dict(mlp_summary.summarise(dict(tables), config))
    theirs = later.pop("claims", pl.DataFrame(schema=CLAIMS.schema))
    found |= {**later, "claims": pl.concat([own, theirs])}
    left = tables.get("left_out")
    return {**found, "headlines": headlines(found, tables["templates"], left, unmeasured(left))}
