"""Every chart of the page as SVG and PNG, through vl-convert: the same specification, the light theme, no browser."""

import re
from pathlib import Path
from typing import Any

import vl_convert

from mnemoscope.report.packing import columns
from mnemoscope.report.section import Drawing, Figure, Section
from mnemoscope.report.theme import config, css_colours, in_rgb, palette
from mnemoscope.results.parquet import write_whole, writing

PIXELS_PER_POINT = 2.0
ENDLESS = "e+308"  # the size of a chart whose first view has no rows: there is nothing to draw


def write_figures(section: Section, folder: Path, prefix: str) -> tuple[Path, ...]:
    """Write every figure of a section that shows something as `<prefix>-<id>.svg` and `.png`; return the paths."""
    written: list[Path] = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for block in section.blocks:
        if isinstance(block, Figure) and block.data.height:
            svg = vl_convert.vegalite_to_svg(still(block), config={**config("light"), "background": "white"})
            if ENDLESS in svg[:400]:
                continue
        elif isinstance(block, Drawing):
            svg = alone(block.svg.markup)
        else:
            continue
        for ending, content in (("svg", svg.encode()), ("png", vl_convert.svg_to_png(svg, scale=PIXELS_PER_POINT))):
            path = folder / f"{prefix}-{block.id}.{ending}"
            write_whole(path, content)
            written.append(path)
    return tuple(written)


def alone(svg: str) -> str:
    """A drawing that does without the page: its colour variables replaced by the light theme's colours."""
    colours = css_colours("light")
    text = re.sub(r"var\(--([a-z0-9]+)\)", lambda match: colours[match[1]], svg).replace("currentColor", colours["ink"])
    return text if "xmlns=" in text else text.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)


def still(figure: Figure) -> dict[str, Any]:
    """The specification with its data in it and the light palette, as it looks before anybody touches it."""
    data = columns(figure.data if figure.first is None else figure.first)
    rows = [dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True)]
    params = [
        {**param, "value": palette("light")} if param["name"] == "palette" else param
        for param in figure.chart.get("params", [])
    ]
    without = {key: value for key, value in figure.chart.items() if key != "params"}
    return in_rgb({**without, "params": params} if params else without) | {"data": {"values": rows}}
