"""The line task of methods P3.5: points of one line are shown, the y of a further x is asked, in two presets.

`decimals` is the published style, x in (0, 1) with two decimals and y with one; `small_integers` has one-digit x and whole
y, for models that only know small numbers. The x asked for is never among the shown ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mnemoscope.data import words
from mnemoscope.data.prompt import Prompt, joined
from mnemoscope.errors import PromptError, choose

OPENING: Final = "These points lie on one straight line:"


@dataclass(frozen=True, kw_only=True)
class LinePreset:
    """A grid of lines and the way its numbers are written; `gap` stands before y, since tokenizers join a comma and a minus."""

    name: str
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    x_grid: tuple[float, ...]
    x_decimals: int
    y_decimals: int
    gap: str = ""

    @property
    def lines(self) -> tuple[tuple[float, float], ...]:
        """All (slope, intercept) pairs, slopes slowest."""
        return tuple((a, b) for a in self.slopes for b in self.intercepts)

    @property
    def span(self) -> float:
        """Largest difference between two y: where errors are clipped, and what an unreadable answer costs."""
        ys = [a * x + b for a, b in self.lines for x in (self.x_grid[0], self.x_grid[-1])]
        return float(max(ys) - min(ys))


PRESETS: Final = {
    "decimals": LinePreset(
        name="decimals",
        slopes=(-20.0, -5.0, 5.0, 20.0),
        intercepts=(5.0, 10.0, 20.0, 40.0),
        x_grid=tuple(i / 100 for i in range(1, 100)),
        x_decimals=2,
        y_decimals=1,
        gap=" ",
    ),
    "small_integers": LinePreset(
        name="small_integers",
        slopes=(1.0, 2.0, 3.0, 5.0),
        intercepts=(1.0, 3.0, 6.0, 9.0),
        x_grid=tuple(float(i) for i in range(10)),
        x_decimals=0,
        y_decimals=0,
    ),
}


def line_prompt(
    preset: LinePreset | str,
    *,
    slope: float,
    intercept: float,
    shots: int,
    rng: np.random.Generator,
    shown: Sequence[float] | None = None,
    query: float | None = None,
    shuffled: bool = False,
) -> Prompt:
    """`shots` points of y = slope x + intercept and the x of a further one; the answer is y up to its closing bracket.

    x values are drawn without replacement unless given (`shown`, `query`). `shuffled` permutes the shown y among the shown x:
    the length-matched control that destroys the line. Roles: opening, point, point_x, point_y, query, query_x, last. Labels:
    slope, intercept, line, shots, x, y (as numbers), condition.
    """
    preset = PRESETS[choose("line preset", preset, tuple(PRESETS))] if isinstance(preset, str) else preset
    xs, asked = _points(preset, shots, rng, shown, query)
    ys = [slope * x + intercept for x in xs]
    if shuffled:
        ys = words.shuffled(ys, rng)
    pieces: list[str | tuple[str, str]] = [("opening", OPENING)]
    for x, y in zip(xs, ys, strict=True):
        pieces += [" (", ("point_x", written(x, preset.x_decimals)), "," + preset.gap]
        pieces += [("point_y", written(y, preset.y_decimals)), ");"]
    pieces += [" (", ("query_x", written(asked, preset.x_decimals)), ("last", ",")]
    y = round(slope * asked + intercept, preset.y_decimals)
    return joined(
        pieces,
        answer=f"{preset.gap}{written(y, preset.y_decimals)})",
        labels={
            "slope": slope,
            "intercept": intercept,
            "line": f"{slope:g}x+{intercept:g}",
            "shots": shots,
            "x": asked,
            "y": y,
            "condition": "shuffled" if shuffled else "true",
        },
    )


def _points(
    preset: LinePreset, shots: int, rng: np.random.Generator, shown: Sequence[float] | None, query: float | None
) -> tuple[list[float], float]:
    """The shown x and the asked one, drawn where they are not given; refuses a query that is shown."""
    given = [] if shown is None else list(shown)
    taken = {*given, *([] if query is None else [query])}
    if query is not None and query in given:
        raise PromptError("the x asked for is shown already", found=f"x={query}", allowed="an x that is not shown")
    if shots < 0 or shots + 1 > len(preset.x_grid) or (shown is not None and len(given) != shots):
        raise PromptError(
            f"{shots} points cannot be shown",
            found=f"{len(given)} given, {len(preset.x_grid)} x values in preset {preset.name!r}",
            allowed="0 <= shots < number of x values, and as many given x as shots",
        )
    free = [x for x in preset.x_grid if x not in taken]
    drawn = words.shuffled(free, rng)
    xs = given if shown is not None else [drawn.pop() for _ in range(shots)]
    return xs, drawn.pop() if query is None else query


def written(value: float, decimals: int) -> str:
    """A number with a fixed number of decimals; never minus zero."""
    return f"{value + 0.0 if round(value, decimals) else 0.0:.{decimals}f}"


def read(text: str) -> float:
    """The number in front of the first closing bracket of a generated continuation; nan where there is none."""
    head, bracket, _ = text.partition(")")
    try:
        return float(head.strip()) if bracket else float("nan")
    except ValueError:
        return float("nan")
