"""Names of published checkpoints, and how a list of them is thinned.

Pythia (Biderman et al. 2023) keeps steps 0, 1, 2, 4 ... 512 and every thousandth to 143,000 as branches "step512". OLMo 2 (OLMo
team 2024) names branches "stage1-step1000-tokens5B": tokens are steps times the batch (sequences of 4,096), rounded up to
billions.
"""

import math
import re

from mnemoscope.errors import OptionError

PYTHIA = (0, *(2**k for k in range(10)), *range(1000, 144_000, 1000))
OLMO_2 = {
    "1B": (512, 1_907_359),
    "7B": (1024, 928_646),
    "13B": (2048, 596_057),
    "32B": (2048, 721_901),
}  # batch, last step
OLMO_2_EARLY = (150, 600, 700, 850, 900)
SCHEDULES = ("pythia", "olmo-2")


def published(schedule: str, model: str) -> tuple[str, ...]:
    """Revisions of a published schedule, first to last, for the model of that name."""
    if schedule == "pythia":
        return tuple(f"step{step}" for step in PYTHIA)
    size = next((size for size in OLMO_2 if re.search(rf"(?<![\d.]){size}\b", model, re.IGNORECASE)), None)
    if size is None:
        raise OptionError(
            f"the schedule of olmo-2 depends on the size, and {model!r} does not say it", allowed=", ".join(OLMO_2)
        )
    batch, last = OLMO_2[size]
    steps = [*OLMO_2_EARLY, *range(1000, last, 1000), last]
    return tuple(f"stage1-step{step}-tokens{math.ceil(step * batch * 4096 / 1e9)}B" for step in steps)


def schedule_of(model: str) -> str:
    """The schedule that a hub id belongs to; "" if none is known."""
    name = model.lower()
    return "pythia" if "pythia" in name else "olmo-2" if "olmo-2" in name else ""


def step_of(name: str) -> int | None:
    """The training step in a checkpoint's name: the number behind "step", else the last number; None without one."""
    found = re.search(r"step[-_]?(\d+)", name, re.IGNORECASE) or re.search(r"(\d+)(?=\D*$)", name)
    return int(found[1]) if found else None


def thinned(steps: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Indices of at most `most` steps, spread as evenly over log(1 + step) as they allow; the ends stay."""
    kept = list(range(len(steps)))
    place = [math.log1p(step) for step in steps]
    while len(kept) > max(2, most):
        gaps = [place[kept[i + 1]] - place[kept[i - 1]] for i in range(1, len(kept) - 1)]
        del kept[1 + gaps.index(min(gaps))]
    return tuple(kept)


def expanded(pattern: str) -> tuple[str, ...]:
    """Every name that a pattern with braces means: {a,b}, {0..1000..100}, {0,1,2,4,...,512}; several braces are combined.

    "..." goes on as the two or three numbers before it began, evenly or by doubling, up to the number behind it. Raises OptionError
    for braces that do not close, and for a "..." without an end or without a rule.
    """
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        if "{" in pattern or "}" in pattern:
            raise OptionError(f"the braces of {pattern!r} do not match", allowed="step{0,1,2,4}, step{0..1000..100}")
        return (pattern,)
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return tuple(dict.fromkeys(head + one + rest for one in _members(found[1]) for rest in expanded(tail)))


def _members(inside: str) -> list[str]:
    if run := re.fullmatch(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?", inside):
        first, last, by = int(run[1]), int(run[2]), int(run[3] or 1)
        if by == 0 or last < first:
            raise OptionError(f"{{{inside}}} counts nowhere", allowed="{first..last..step}")
        return [str(n) for n in range(first, last + 1, by)]
    parts = [part.strip() for part in inside.split(",")]
    if "..." not in parts:
        return parts
    at = parts.index("...")
    numbers = parts[:at] + parts[at + 1 :]
    if at < 2 or len(parts) != at + 2 or not all(part.isdigit() for part in numbers):
        raise OptionError(
            f"{{{inside}}} cannot be continued", allowed="{0,1,2,4,...,512}: two numbers, dots, the last one"
        )
    return _continued([int(part) for part in parts[:at]], int(parts[-1]))


def _continued(known: list[int], last: int) -> list[str]:
    """The numbers up to `last`: in equal steps if the last three (or only two) are, else by their ratio."""
    a, b = known[-2], known[-1]
    even = len(known) < 3 or b - a == a - known[-3]
    if not even and (a == 0 or b % a or b == a or (known[-3] and a % known[-3])):
        raise OptionError(f"{known} is neither even nor a multiple of itself", allowed="0,100,200,... or 1,2,4,...")
    while known[-1] < last:
        known.append(known[-1] + (b - a) if even else known[-1] * (b // a))
        if b <= a:
            break
    return [str(n) for n in known if n <= last] + ([] if last in known else [str(last)])
