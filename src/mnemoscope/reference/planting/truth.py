"""What is known about a planted model, machine-readable. Saved as truth.json beside the weights.

A signature says by which measures a component must be seen, and by which it must not. What neither list names is not
scored: it may come out either way. Names of measures are plain strings; the studies that compute them use the same ones.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mnemoscope.errors import InputError

FILE = "truth.json"
FORMAT = 1
Json = Any  # what json reads and writes


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Measures that must see a component, and measures that must not."""

    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def of(self, measure: str) -> bool | None:
        """True, False, or None where the measure is free to say either."""
        return True if measure in self.seen else False if measure in self.unseen else None


@dataclass(frozen=True, kw_only=True)
class HeadTruth:
    """One head of the model; every head is listed, the ones without a role too.

    relation   the relation it serves; "" if it has none, then it counts as a decoy for every relation
    attends    what it attends to, and `writes` what it adds, in words
    """

    layer: int
    head: int
    kv_head: int
    kind: str
    relation: str = ""
    signature: Signature = field(default_factory=Signature)
    attends: str = ""
    writes: str = ""


@dataclass(frozen=True, kw_only=True)
class MlpTruth:
    """The MLP of one layer and the parts it is made of; kinds is empty where it does nothing."""

    layer: int
    kinds: tuple[str, ...] = ()
    signature: Signature = field(default_factory=Signature)
    writes: str = ""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """All that is known.

    options   the other arguments that it was built with: `planted(t.kind, family=t.family, seed=t.seed, noise=t.noise,
              **t.options)` builds it again, in every weight
    facts     what only this kind has; described in the module of the kind
    """

    kind: str
    family: str
    seed: int
    noise: float
    options: Mapping[str, Json]
    heads: tuple[HeadTruth, ...]
    mlps: tuple[MlpTruth, ...]
    facts: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def of_kind(self, kind: str) -> tuple[HeadTruth, ...]:
        """The heads of one kind."""
        return tuple(head for head in self.heads if head.kind == kind)

    def relations(self) -> tuple[str, ...]:
        """Relations that heads serve, in order of first mention."""
        return tuple(dict.fromkeys(head.relation for head in self.heads if head.relation))

    def to_json(self) -> dict[str, Json]:
        """Plain lists, dicts, strings and numbers."""
        return {"format": FORMAT, **json.loads(json.dumps(asdict(self)))}

    def save(self, folder: Path) -> Path:
        """Write truth.json into the folder."""
        path = folder / FILE
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        return path


def read(folder: str | Path) -> Truth:
    """The truth of a saved planted model. Raises InputError where there is none, or one of another format."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise InputError(f"no truth at {path}", allowed="a folder that planted(..., folder=...) has written")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != FORMAT:
            raise ValueError("another format")
        heads = tuple(HeadTruth(**{**head, "signature": _signature(head)}) for head in data.pop("heads"))
        mlps = tuple(
            MlpTruth(**{**mlp, "kinds": tuple(mlp["kinds"]), "signature": _signature(mlp)}) for mlp in data.pop("mlps")
        )
        return Truth(**data, heads=heads, mlps=mlps)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as the truth of a planted model",
            found=str(error),
            allowed=f"format {FORMAT}",
            hint="build the model again",
        ) from error


def _signature(entry: Mapping[str, Json]) -> Signature:
    return Signature(seen=tuple(entry["signature"]["seen"]), unseen=tuple(entry["signature"]["unseen"]))
