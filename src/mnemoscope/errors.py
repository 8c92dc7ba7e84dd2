"""Every error a user can meet, in one tree.

    MnemoscopeError                      exit code 2
    ├── InputError                       something that was asked for cannot be
    │   ├── OptionError                  an unknown name (site, study, option, kind ...), with the nearest valid one
    │   ├── PromptError                  empty, too long, token id out of range, unequal lengths
    │   │   └── AlignmentError           a character span is not a whole number of tokens
    │   ├── DataError                    a data file: path and line
    │   ├── LoadError                    a model folder or hub id that cannot be read
    │   └── RunFolderError               a run folder that is foreign, locked, of another version, or not writable
    ├── UnsupportedError                 a capability that this model does not have, with the reason
    ├── VerificationError                an identity that should hold does not
    └── JobsFailedError                  a run finished and some jobs failed; exit code 3

An error says four things on one line: what was asked, what was found, what is allowed, what to try.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class MnemoscopeError(Exception):
    """Base of the tree. `str(error)` is one line: asked | found: ... | allowed: ... | try: ..."""

    exit_code = 2

    def __init__(self, asked: str, *, found: str = "", allowed: str = "", hint: str = "") -> None:
        self.asked, self.found, self.allowed, self.hint = asked, found, allowed, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = (("found", self.found), ("allowed", self.allowed), ("try", self.hint))
        line = " | ".join([self.asked, *(f"{name}: {text}" for name, text in parts if text)])
        return " ".join(line.split())

    def __reduce__(self) -> tuple[object, ...]:  # keyword-only fields survive pickling between processes
        return (_rebuild, (type(self), self.asked, self.found, self.allowed, self.hint))


def _rebuild(kind: type[MnemoscopeError], asked: str, found: str, allowed: str, hint: str) -> MnemoscopeError:
    return kind(asked, found=found, allowed=allowed, hint=hint)


class InputError(MnemoscopeError):
    """Something that was asked for cannot be."""


class OptionError(InputError):
    """An unknown name."""


class PromptError(InputError):
    """A prompt that is empty, too long, of another length than its partner, or holds an impossible token id."""


class AlignmentError(PromptError):
    """Character spans that are not a whole number of tokens. Lists every offender."""


class DataError(InputError):
    """A data file that cannot be understood; names the path and the line."""


class LoadError(InputError):
    """A model folder or hub id that cannot be read, or that is not a causal decoder."""


class RunFolderError(InputError):
    """A run folder that is foreign, locked, written by another version, or not writable."""


class UnsupportedError(MnemoscopeError):
    """A capability that this model does not have; says which and why."""


class VerificationError(MnemoscopeError):
    """An identity that should hold numerically does not."""


class JobsFailedError(MnemoscopeError):
    """A run is finished, but some of its jobs failed; their reasons are in jobs.jsonl."""

    exit_code = 3


def choose(kind: str, asked: str, allowed: Sequence[str]) -> str:
    """Return `asked` if it is allowed, else raise OptionError with the nearest valid name."""
    if asked in allowed:
        return asked
    nearest = get_close_matches(str(asked), allowed, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else ""
    raise OptionError(f"no {kind} is called {asked!r}", allowed=", ".join(allowed), hint=hint)


def listed(offenders: Iterable[str], most: int = 12) -> str:
    """Offenders on one line: the first `most` of them and the number of the others."""
    names = list(offenders)
    rest = f" (+{len(names) - most} more)" if len(names) > most else ""
    return "; ".join(names[:most]) + rest
