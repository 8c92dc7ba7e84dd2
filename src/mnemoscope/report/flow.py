"""A process as one picture: boxes from left to right, arrows with measured numbers on them.

For sequences of steps such as topic, movers, MLP, answer, last layer. The width of an arrow is proportional to the size of
its number within the picture, its colour says the sign, a dashed arrow means that the interval includes 0; the number
itself, with its interval, is always written out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mnemoscope.report import words
from mnemoscope.report.html import Safe, element, joined, shortened

WIDTH, HEIGHT, TOP = 980, 190, 62
BOX = 58  # height of a box
THIN, THICK = 1.5, 9.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """A box: a name, and up to two short lines that say what was found there."""

    name: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """From one box to the next: what is measured, its estimate and its interval."""

    label: str
    estimate: float
    low: float
    high: float
    unit: str = ""


def flow(steps: Sequence[Step], arrows: Sequence[Arrow]) -> Safe:
    """The picture as SVG for a `Drawing`; one arrow fewer than boxes. A nan is drawn as a dotted line and a dash."""
    if len(arrows) != len(steps) - 1:
        raise ValueError(f"{len(steps)} boxes need {len(steps) - 1} arrows, not {len(arrows)}")
    gap = 132.0
    box = (WIDTH - gap * len(arrows)) / len(steps)
    largest = max((abs(arrow.estimate) for arrow in arrows if math.isfinite(arrow.estimate)), default=0.0)
    boxes = [_box(step, i * (box + gap), box) for i, step in enumerate(steps)]
    lines = [_arrow(arrow, i * (box + gap) + box, gap, largest) for i, arrow in enumerate(arrows)]
    spoken = "; ".join(f"{arrow.label}: {_number(arrow)}" for arrow in arrows)
    return element(
        "svg",
        element("title", spoken),
        *boxes,
        *lines,
        viewBox=f"-1 0 {WIDTH + 2} {HEIGHT}",
        width=WIDTH + 2,
        height=HEIGHT,
        role="img",
        font_family="Inter, Helvetica, Arial, Liberation Sans, sans-serif",
    )


def _box(step: Step, x: float, width: float) -> Safe:
    frame = element(
        "rect", x=f"{x:.1f}", y=TOP, width=f"{width:.1f}", height=BOX, rx=8, fill="var(--wash)", stroke="var(--line)"
    )
    middle = x + width / 2
    name = _text(step.name, middle, TOP + BOX / 2 + 5, "currentColor", size=14, weight=600)
    below = [_text(line, middle, TOP + BOX + 22 + 17 * i, "var(--muted)", size=12) for i, line in enumerate(step.lines)]
    return joined((frame, name, *below))


def _arrow(arrow: Arrow, x: float, gap: float, largest: float) -> Safe:
    known = math.isfinite(arrow.estimate)
    width = THIN + (THICK - THIN) * abs(arrow.estimate) / largest if known and largest else THIN
    sure = known and not arrow.low <= 0 <= arrow.high
    colour = "var(--muted)" if not known else "var(--c0)" if arrow.estimate >= 0 else "var(--c1)"
    start, end, y = x + 8, x + gap - 8, TOP + BOX / 2
    head = 7 + width
    line = element(
        "line",
        x1=f"{start:.1f}",
        x2=f"{end - head:.1f}",
        y1=f"{y:.1f}",
        y2=f"{y:.1f}",
        stroke=colour,
        stroke_width=f"{width:.1f}",
        stroke_dasharray=None if sure else "2 4" if not known else "8 5",
    )
    tip = element("path", d=f"M{end:.1f} {y}l{-head:.1f} {-head / 1.6:.1f}v{head * 1.25:.1f}z", fill=colour)
    middle = (start + end) / 2
    above = _text(arrow.label, middle, TOP - 22, "var(--muted)", size=12)
    number = _text(_number(arrow), middle, TOP - 4, "currentColor", size=12, weight=600)
    return joined((line, tip, above, number))


def _text(text: str, x: float | int, y: float | int, fill: str, *, size: int, weight: int = 400) -> Safe:
    return element(
        "text",
        shortened(text, 60),
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        fill=fill,
        font_size=size,
        font_weight=weight,
        text_anchor="middle",
    )


def _number(arrow: Arrow) -> str:
    if not math.isfinite(arrow.estimate):
        return words.MISSING
    estimate, interval = words.estimate(arrow.estimate, arrow.low, arrow.high)
    return f"{estimate}{' ' + arrow.unit if arrow.unit else ''} {interval}"
