"""What could not be used, and why. Readers and builders count and list it; nothing is guessed or dropped in silence."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One thing that was read and not used.

    id       where it is, as a reader of the source would look for it: document id, "file:line", relation / topic ...
    reason   one of a few fixed sentences, so that it can be counted
    detail   what makes this case special ("letters 23, at most 20"); not part of the count
    """

    id: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.id}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


def counted(left_out: Iterable[LeftOut]) -> dict[str, int]:
    """Number of cases for each reason, most frequent first."""
    return dict(Counter(case.reason for case in left_out).most_common())
