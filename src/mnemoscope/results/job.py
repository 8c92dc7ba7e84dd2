"""A job: the unit of work and of resuming, at most a minute long. Its batches are fixed by the plan that made it."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mnemoscope.errors import InputError, OptionError, listed

JSON = Any  # a JSON value: `canonical` refuses everything else (beartype cannot follow a recursive alias)
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,119}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work: `id` names it (and its folder on disk), `args` says what to do, in JSON values."""

    id: str
    args: Mapping[str, JSON] = field(default_factory=dict[str, JSON])

    def __post_init__(self) -> None:
        if not _SAFE.fullmatch(self.id):
            raise OptionError(
                "a job's id must be a file name", found=repr(self.id), allowed="1-120 of letters, digits, . _ = + -"
            )
        try:
            canonical(self.args)
        except (TypeError, ValueError) as error:
            raise InputError(f"the arguments of job {self.id!r} are not JSON", found=str(error)) from error


def canonical(value: object) -> str:
    """The one JSON text of a value: keys sorted, no spaces, no nan. Equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def distinct(jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Return the jobs as a tuple; OptionError if two share an id (letter case does not distinguish)."""
    plan = tuple(jobs)
    seen: set[str] = set()
    twice = [job.id for job in plan if job.id.lower() in seen or seen.add(job.id.lower())]
    if twice:
        raise OptionError("job ids of a plan must differ, whatever their letter case", found=listed(twice))
    return plan


def seed_of(run_seed: int, job_id: str) -> int:
    """The seed of a job, in [0, 2^63): the same in every process, on every machine, whatever ran before it."""
    digest = hashlib.sha256(f"{run_seed}\n{job_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
