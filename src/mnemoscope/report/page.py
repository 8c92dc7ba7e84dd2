"""The page: one file that opens anywhere, asks the network for nothing, and says first what was asked and what came out.

Order: what was asked and of which model; the claims; a section per study; what to trust. Vega is embedded once. The
content security policy allows no request at all, so that a page with hostile text in it could not make one either.
"""

import importlib.util
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import vl_convert

from mnemoscope.axes import STUDIES
from mnemoscope.errors import RunFolderError
from mnemoscope.report.asked import header, headlines, missing_studies, study_name
from mnemoscope.report.blocks import rendered
from mnemoscope.report.claims import claims_table, evidence, evidence_grid
from mnemoscope.report.copies import spelled
from mnemoscope.report.figures import write_figures
from mnemoscope.report.html import Child, Safe, element, island, joined
from mnemoscope.report.section import Section
from mnemoscope.report.theme import config, palette, variables
from mnemoscope.report.trust import trust
from mnemoscope.results.parquet import write_whole
from mnemoscope.results.store import Finished, read_all, read_parent

POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
PAGE = "report.html"


def write(path: Path) -> Path:
    """Build `report.html` and `figures/` of a run folder, or of a folder of all studies, from its tables alone."""
    runs = read_all(path)
    if not runs:
        raise RunFolderError(f"{path} holds no study yet", hint="run one: mnemoscope run all MODEL")
    sections = tuple(section_of(run) for run in runs)
    for run, section in zip(runs, sections, strict=True):
        write_figures(section, path / "figures", run.record["study"])
    write_whole(path / PAGE, html(runs, sections, missing=_missing(path)).encode())
    return path / PAGE


def framed(path: Path) -> str:
    """The page inside a frame, for notebooks; built if it is not there yet."""
    page = path / PAGE
    content = (page if page.is_file() else write(path)).read_text()
    style = "width:100%;height:80vh;border:1px solid #ccc;border-radius:6px"
    return f'<iframe srcdoc="{escape(content)}" style="{style}" title="mnemoscope report"></iframe>'


def section_of(run: Finished) -> Section:
    """The section of a run: from `report/<study>.py`, or every table as it is if there is no such file."""
    study = run.record["study"]
    name = f"mnemoscope.report.{study}"
    known = study in STUDIES and importlib.util.find_spec(name) is not None
    module = import_module(name if known else "mnemoscope.report.plain")
    return module.section(spelled(run.tables))


def html(runs: Sequence[Finished], sections: Sequence[Section], *, missing: Safe) -> str:
    """The page as text."""
    title = f"{runs[0].record['identity'].get('model', {}).get('name', 'model')} under the mnemoscope"
    studies = [_study(run, section) for run, section in zip(runs, sections, strict=True)]
    return shell(
        title,
        [
            ("claims", "Claims"),
            *((run.record["study"], study_name(run.record["study"])) for run in runs),
            ("trust", "Trust"),
        ],
        header(runs),
        missing,
        element("section", element("h2", "Claims"), claims_table(runs), id="claims"),
        *studies,
        element("section", element("h2", "Trust"), trust(runs), id="trust"),
        element("footer", "Made from the tables of this run by mnemoscope. Full precision: tables/*.parquet."),
    )


def shell(title: str, links: Sequence[tuple[str, str]], *content: Child) -> str:
    """A whole page around its content: navigation to the anchors of `links`, style, colours, scripts. Asks for nothing."""
    navigation = element(
        "nav",
        *(element("a", text, href=f"#{anchor}") for anchor, text in links),
        element("button", "Dark", type="button", id="mode", aria_label="switch between light and dark"),
        aria_label="sections",
    )
    body = joined((navigation, element("main", *content), island("theme", _theme()), *_scripts()))
    return _document(title, body)


def _study(run: Finished, section: Section) -> Safe:
    study = run.record["study"]
    lead: tuple[Child, ...] = (element("p", section.lead, class_="lead"),) if section.lead else ()
    blocks = (rendered(block, study) for block in section.blocks)
    name = element("h2", study_name(study))
    return element("section", name, *lead, headlines(run), *blocks, _evidence(run), id=study, class_="study")


def _evidence(run: Finished) -> Safe:
    """The tables that the claims were decided on, closed until a claim's link or the reader opens them."""
    study, names = str(run.record["study"]), evidence(run)
    if not names:
        return Safe("")
    tables = (
        element(
            "details",
            element("summary", name),
            rendered(evidence_grid(run, name), study),
            id=f"{study}-evidence-{name}-fold",
        )
        for name in names
    )
    return joined((element("h3", "Tables behind the verdicts"), element("div", *tables, class_="evidence")))


def _missing(path: Path) -> Safe:
    parent = read_parent(path)
    if parent is None:
        return Safe("")
    there = {run.record["study"] for run in read_all(path)}
    refused = {name: str(why) for name, why in parent.get("refused", {}).items() if name not in there}
    return missing_studies(refused, [name for name in parent["studies"] if name not in there])


def _theme() -> dict[str, object]:
    return {mode: {"config": config(mode), "palette": palette(mode)} for mode in ("light", "dark")}


def _scripts() -> tuple[Safe, ...]:
    return tuple(
        Safe(f"<script>{text}</script>")
        for text in (vega(), _asset("charts.js"), _asset("grids.js"), _asset("tokens.js"))
    )


@cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, without anything that would end its element."""
    bundle = str(vl_convert.javascript_bundle())  # pyright: ignore[reportCallIssue, reportUnknownArgumentType]
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return files("mnemoscope.report").joinpath("assets", name).read_text(encoding="utf-8")


def _document(title: str, body: Safe) -> str:
    head = joined(
        (
            Safe('<meta charset="utf-8">'),
            element("meta", http_equiv="Content-Security-Policy", content=POLICY),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="color-scheme", content="light dark"),
            element("title", title),
            Safe(f"<style>{variables()}{_asset('page.css')}</style>"),
        )
    )
    return f'<!doctype html>\n<html lang="en"><head>{head.markup}</head><body>{body.markup}</body></html>\n'
