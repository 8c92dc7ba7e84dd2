"""What the icl study can be asked, with quick defaults; `thorough` takes the published sizes."""

from dataclasses import dataclass

TASKS = ("lines", "passages", "simple", "persona")
LINE_PRESETS = ("auto", "decimals", "small_integers")
STORED = (("all", "max"), ("relevant", "max"), ("all", "mean"), ("all", "last"))  # (tokens, pooling) kept by default
BRIEF = ("simple", "persona")  # tasks of which only the primary vectors are kept
PRIMARY = ("relevant", "max")  # similarity: max pooling as published, over tokens that are the same before and after
READ = (("all", "last"), ("all", "max"))  # probes: the last token first, for it has no length; then as published


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `mnemoscope run icl`.

    limit      names, and as many activities, of the crossed design (default 6, thorough 10); prompts on each line (4, 16); inputs
               of a task of your own (40)
    data       your own task: input/output pairs (function-vectors JSON, file or folder), or JSON lines of prompts with the
               labels item and condition; it then takes the place of the built-in tasks
    lines      "decimals", "small_integers", or "auto": decimals, unless the model answers only small integers
    tasks      which of the built-in tasks
    budget     memory of one chunk of a sweep
    """

    seed: int = 0
    limit: int | None = None
    data: str | None = None
    thorough: bool = False
    budget: str = "1GiB"

    tasks: tuple[str, ...] = TASKS
    lines: str = "auto"
    distractors: int = 2  # sentences about others in a composite passage
    pairs_shots: int = 5  # solved examples of an input/output task
    batch: int = 16  # prompts of one forward pass
    per_job: int = 96  # prompts of one job

    @property
    def people(self) -> int:
        """Names, and as many activities, of the crossed design: every name does everything."""
        return self.limit or (10 if self.thorough else 6)

    @property
    def draws(self) -> int:
        """Prompts of one item under one condition; the ceiling needs at least two."""
        return 4 if self.thorough else 2

    @property
    def line_draws(self) -> int:
        """Prompts on each of the 16 lines."""
        return 16 if self.thorough else 4

    def stored(self, task: str, copy: str = "trained") -> tuple[tuple[str, str], ...]:
        """(tokens, pooling) whose vectors are kept: four by default, all six if thorough; fewer where no claim needs them.

        One for simple and persona, two for the re-initialised copy. A vector is d_model float32 per layer and prompt.
        """
        if task in BRIEF and not self.thorough:
            return (PRIMARY,)
        if copy != "trained":
            return (PRIMARY, READ[0])
        return (*STORED, ("relevant", "mean"), ("relevant", "last")) if self.thorough else STORED

    @property
    def folds(self) -> int:
        """Outer folds of probes."""
        return 5 if self.thorough else 4

    def penalties(self, numeric: bool) -> tuple[float, ...]:
        """Of the L2 term of probes of numbers or classes, inputs standardised; chosen by inner folds."""
        if self.thorough:
            return (1e-3, 1e-1, 1e1, 1e3)
        return (1e1, 1e3) if numeric else (1e0, 1e2)

    @property
    def shuffles(self) -> int:
        """Refits of a probe to labels that were shuffled among items."""
        return 20 if self.thorough else 0

    @property
    def permutations(self) -> int:
        """Permutations of every test."""
        return 1999 if self.thorough else 499
