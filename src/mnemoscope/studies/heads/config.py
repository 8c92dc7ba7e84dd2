"""What the heads study can be asked, with quick defaults; `thorough` takes the published sizes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `mnemoscope run heads`.

    limit      sequences, and documents with relations, per corpus (default 24 and 16, thorough 100 and 200)
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
    group_tasks: tuple[str, ...] = ("binary_fruit_month", "four_fruit_month")
    group_shots: int = 10
    group_sets: int = 4  # draws of demonstrations per task, four prompts each
    group_texts: int = 4  # neutral texts, for loss and loss reduction
    caused_per_job: int = 12  # documents whose sampled opportunities share one mean of z

    @property
    def documents(self) -> int:
        """Documents of each relational corpus; letters are redrawn for each."""
        return self.limit or (200 if self.thorough else 16)

    @property
    def caused(self) -> int:
        """Documents of each relational corpus on which every head is ablated at sampled opportunities."""
        return min(self.documents, 96 if self.thorough else 12)

    @property
    def random_sets(self) -> int:
        """Layer-matched random sets of heads to compare a group with."""
        return 100 if self.thorough else 20

    @property
    def sets_per_job(self) -> int:
        """Of them, in one job."""
        return 10 if self.thorough else 20

    def group_sizes(self, n: int) -> tuple[int, ...]:
        """Numbers of heads that are ablated together, in a model of n heads."""
        return tuple(k for k in ((1, 2, 4, 8, 16) if self.thorough else (1, 4)) if k <= max(1, n // 4))

    @property
    def positions(self) -> int | None:
        """Attending positions per triple, drawn evenly; None: all."""
        return None if self.thorough else 32

    @property
    def sequences(self) -> int:
        """Sequences of each corpus whose attention is scored."""
        return self.limit or (100 if self.thorough else 24)

    @property
    def ablated(self) -> int:
        """Sequences on which every head is ablated."""
        return min(self.sequences, 48 if self.thorough else 8)
