"""What the heads study can be asked, with quick defaults; `thorough` takes the published sizes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `mnemoscope run heads`.

    limit      sequences, and documents with relations, per corpus (default 24, thorough 100)
    data       a file of your own: texts, and documents with triples; default: what the bundled generators write
    budget     memory of one chunk of a sweep
    """

    seed: int = 0
    limit: int | None = None
    data: str | None = None
    thorough: bool = False
    budget: str = "1GiB"

    distinct: int = 25  # random tokens of a sequence (Olsson et al.; our docs/method.md)
    copies: int = 4  # how often they are repeated
    text_tokens: int = 128  # length of a text sequence
    per_job: int = 8  # sequences of one job

    redraws: int = 5  # letters of one document are drawn so many times (methods.md B1.1)
    draws: int = 9  # tails drawn in place of the true one, for the permutation
    documents_per_job: int = 6
    caused_per_job: int = 12  # documents whose sampled opportunities share one mean of z

    @property
    def documents(self) -> int:
        """Documents of each relational corpus; letters are redrawn for each."""
        return self.limit or (200 if self.thorough else 24)

    @property
    def caused(self) -> int:
        """Documents of each relational corpus on which every head is ablated at sampled opportunities."""
        return min(self.documents, 96 if self.thorough else 24)

    @property
    def sequences(self) -> int:
        """Sequences of each corpus whose attention is scored."""
        return self.limit or (100 if self.thorough else 24)

    @property
    def ablated(self) -> int:
        """Sequences on which every head is ablated."""
        return min(self.sequences, 48 if self.thorough else 8)
