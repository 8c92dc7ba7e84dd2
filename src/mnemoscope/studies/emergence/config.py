"""What the emergence study can be asked, with quick defaults; `thorough` takes the published sizes."""

from dataclasses import dataclass

from mnemoscope.data.pairs import SHOTS


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `mnemoscope run emergence`.

    revisions    which checkpoints: names with commas, patterns step{0,1,2,4,...,512}, step*, a folder of checkpoints, a published
                 schedule (pythia, olmo-2; pythia:20 takes 20 of it), and MODEL@... for other training seeds; default: all there are
    checkpoints  most of one training run where `revisions` does not name them, spread evenly over log steps (thorough: all)
    limit        documents, sequences and prompt sets of every measure
    data         tasks of input/output pairs, documents with triples, or texts, in place of the bundled ones
    """

    seed: int = 0
    limit: int | None = None
    data: str | None = None
    thorough: bool = False
    revisions: str | None = None
    checkpoints: int = 24

    shots: tuple[int, ...] = SHOTS
    queries: int = 4  # of one prompt set
    distinct: int = 25  # random tokens of a sequence, as in the heads study
    copies: int = 4

    @property
    def most(self) -> int | None:
        """Checkpoints of one training run that are taken where nobody named them."""
        return None if self.thorough else self.checkpoints

    @property
    def texts(self) -> int:
        """Documents whose losses are measured (500 as published)."""
        return self.limit or (500 if self.thorough else 16)

    @property
    def sets(self) -> int:
        """Prompt sets of every task; 25 sets of 4 queries are the published 100 prompts."""
        return self.limit or (25 if self.thorough else 12)

    @property
    def sequences(self) -> int:
        """Random sequences on which heads are scored."""
        return self.limit or (100 if self.thorough else 16)

    @property
    def documents(self) -> int:
        """Documents of every relational corpus."""
        return self.limit or (100 if self.thorough else 16)

    @property
    def redraws(self) -> int:
        """Draws of the letters of every letter document."""
        return 5 if self.thorough else 2
