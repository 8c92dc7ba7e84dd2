"""Files beside the page: drawings that stand alone, and colours that a colour-blind reader and a grey printer can tell."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mnemoscope.report.figures import alone, write_figures
from mnemoscope.report.html import Safe
from mnemoscope.report.section import Drawing, Section
from mnemoscope.report.theme import CATEGORY, DIVERGING, INK, SEQUENTIAL, Mode


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.1, definition)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_drawings_do_without_the_page(tmp_path: Path) -> None:
    svg = '<svg width="40" height="20"><rect width="40" height="20" fill="var(--c1)" stroke="currentColor"/></svg>'
    text = alone(svg)
    assert 'fill="#d55e00"' in text
    assert f'stroke="{INK["light"]["ink"]}"' in text
    assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg" ')
    drawing = Drawing(id="pipeline", title="", caption="", svg=Safe(svg), data=pl.DataFrame())
    section = Section(id="x", title="", lead="", blocks=(drawing,))
    assert [path.name for path in write_figures(section, tmp_path, "recall")] == [
        "recall-pipeline.svg",
        "recall-pipeline.png",
    ]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_scales_survive_greyscale_and_text_is_readable(mode: Mode) -> None:
    steps = np.diff([luminance(colour) for colour in SEQUENTIAL[mode]])
    assert (steps < 0).all() if mode == "light" else (steps > 0).all()
    page = INK[mode]["page"]
    middle = len(DIVERGING[mode]) // 2
    distance = [contrast(colour, page) for colour in DIVERGING[mode]]
    assert distance[:middle] == sorted(distance[:middle], reverse=True)
    assert distance[middle:] == sorted(distance[middle:])
    assert contrast(INK[mode]["ink"], page) > 12  # WCAG AAA asks 7
    assert contrast(INK[mode]["muted"], page) > 4.5  # WCAG AA
    assert min(contrast(colour, page) for colour in CATEGORY[mode]) > 2.2


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_the_first_colours_differ_for_colour_blind_readers(mode: Mode, kind: str) -> None:
    """Machado, Oliveira, Fernandes 2009, table 1 (severity 1.0), in linear RGB."""
    seen = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    }[kind]
    linear = np.array(
        [[v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb(c)] for c in CATEGORY[mode]]
    )
    simulated = np.clip(linear @ np.array(seen).T, 0, 1) ** (1 / 2.4)
    for i in range(3):
        for j in range(i):
            assert np.linalg.norm(simulated[i] - simulated[j]) > 0.18, (i, j)
