"""The picture of a process: widths in proportion, signs in colour, doubt in dashes, numbers in words."""

import math
import re
from xml.etree import ElementTree as ET

import pytest

from mnemoscope.report.flow import THICK, THIN, Arrow, Step, flow

STEPS = [Step(name="topic"), Step(name="movers <L9H8>", lines=("3 heads",)), Step(name="MLP"), Step(name="answer")]
ARROWS = [
    Arrow(label="carried", estimate=2.0, low=1.5, high=2.5, unit="logits"),
    Arrow(label="erased", estimate=-1.0, low=-2.0, high=0.1),
    Arrow(label="unknown", estimate=math.nan, low=math.nan, high=math.nan),
]


def test_lines_say_what_was_measured() -> None:
    tree = ET.fromstring(flow(STEPS, ARROWS).markup)
    lines = tree.findall("line")
    widths = [float(line.get("stroke-width", "0")) for line in lines]
    assert widths == pytest.approx([THICK, THIN + (THICK - THIN) / 2, THIN], abs=0.06)
    assert [line.get("stroke") for line in lines] == ["var(--c0)", "var(--c1)", "var(--muted)"]
    assert [line.get("stroke-dasharray") for line in lines] == [None, "8 5", "2 4"]
    said = [text.text for text in tree.findall("text")]
    assert "2.0 logits [1.5, 2.5]" in said
    assert "−1.0 [−2.0, 0.1]" in said
    assert "–" in said
    assert "movers <L9H8>" in said
    assert tree.findtext("title") == "carried: 2.0 logits [1.5, 2.5]; erased: −1.0 [−2.0, 0.1]; unknown: –"


def test_boxes_and_arrows_stand_in_reading_order_without_overlap() -> None:
    tree = ET.fromstring(flow(STEPS, ARROWS).markup)
    boxes = [(float(r.get("x", "")), float(r.get("x", "")) + float(r.get("width", ""))) for r in tree.findall("rect")]
    arrows = [(float(line.get("x1", "")), float(line.get("x2", ""))) for line in tree.findall("line")]
    spans = [boxes[0]]
    for box, arrow in zip(boxes[1:], arrows, strict=True):
        spans += [arrow, box]
    ends = [x for span in spans for x in span]
    assert ends == sorted(ends)
    assert ends[-1] == pytest.approx(980)
    tips = re.findall(r'd="M([\d.]+) ', flow(STEPS, ARROWS).markup)
    assert all(float(tip) < box[0] for tip, box in zip(tips, boxes[1:], strict=True))


def test_one_arrow_fewer_than_boxes() -> None:
    with pytest.raises(ValueError, match="4 boxes need 3 arrows, not 1"):
        flow(STEPS, ARROWS[:1])
