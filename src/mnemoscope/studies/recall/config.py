"""What the recall study can be asked, with quick defaults; `thorough` takes all relations and at least 100 topics."""

from dataclasses import dataclass
from typing import Final

AMONG: Final = 10  # known: among the first so many of the vocabulary (and first among the relation's answers)
SMALLEST: Final = 0.1  # logits, and share of attention: below it a head is chosen for nothing
MOVERS: Final = 3  # at most (B6.4)
WORKINGS: Final = "how facts are recalled"  # what is left out where a model's heads cannot be read


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `mnemoscope run recall`.

    limit       topics per relation (default 12, thorough 40)
    data        a file or folder of your own facts: JSON lines, LRE, CounterFact, ParaRel; default: the built-in facts
    budget      memory of one chunk of a sweep
    templates   templates per relation that everything is measured on (default 3, thorough 5)
    relations   relations that the model knows and on which its workings are measured (default 6, thorough 24)
    shots       demonstrations of the few-shot maps, beside k = 0
    """

    seed: int = 0
    limit: int | None = None
    data: str | None = None
    thorough: bool = False
    budget: str = "1GiB"
    templates: int | None = None
    relations: int | None = None
    shots: int = 2

    @property
    def n_topics(self) -> int:
        """Topics drawn from each relation."""
        return self.limit or (40 if self.thorough else 12)

    @property
    def n_templates(self) -> int:
        """Templates per relation that everything is measured on; what is known is decided on two more."""
        return self.templates or (5 if self.thorough else 3)

    @property
    def n_relations(self) -> int:
        """Relations whose workings are measured."""
        return self.relations or (24 if self.thorough else 6)
