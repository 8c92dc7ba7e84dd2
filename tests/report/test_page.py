"""The page in a browser without a network: it asks for nothing, shows hostile text as text, and its numbers are the tables'."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mnemoscope.errors import RunFolderError
from mnemoscope.report.html import Safe
from mnemoscope.report.page import framed, html, section_of, write
from mnemoscope.results.parquet import read_table
from mnemoscope.results.provenance import Provenance
from mnemoscope.results.store import keep_parent, read


def test_no_request_and_no_error(opened_page: Any, small: Path) -> None:
    opened_page.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened_page.wait_for_selector("#heads-control[data-drawn]")
    opened_page.click("#mode")
    opened_page.wait_for_timeout(300)
    assert opened_page.requests == [(small / "report.html").as_uri()]
    assert opened_page.problems == []


def test_hostile_text_is_inert_and_shown(opened_page: Any) -> None:
    assert opened_page.title() == "handmade under the mnemoscope"
    stage = opened_page.locator("#heads-attention .stage")
    stage.locator(".t").nth(5).wait_for()
    said = stage.inner_text()
    assert "</script><script>document.title='owned'</script>" in said
    assert "<img src=" in said
    assert "⟨U+202E⟩gnp.exe" in said
    assert "⟨U+2028⟩" in said
    assert "x" * 120 + "… (+9,880 characters)" in said
    claims = opened_page.locator("#claims").inner_text()
    assert "</script><script>document.title='owned'</script>" in claims
    assert "⟨U+202E⟩gnp.exe" in claims
    assert opened_page.locator("main img").count() == 0
    assert opened_page.locator("[data-position='1']").bounding_box()["width"] < 1100


def test_token_view_shows_the_kept_attention_of_the_picked_head(opened_page: Any) -> None:
    status = opened_page.locator("#heads-attention .status")
    opened_page.locator("#heads-ranking tbody tr").first.focus()
    opened_page.keyboard.press("Enter")  # the ranked table is reachable by keyboard; its first row is the planted head
    opened_page.wait_for_function(
        "document.querySelector('#heads-attention .status').innerText.includes('layer 2, head 1')"
    )
    assert "0.78 to 2" in status.inner_text()  # 200/255


def test_a_click_on_the_map_picks_a_head(opened_page: Any) -> None:
    opened_page.locator("#heads-map .canvas path[aria-roledescription='rect mark']").nth(5).click(force=True)
    opened_page.wait_for_function(
        "document.querySelector('#heads-attention .status').innerText.includes('layer 1, head 1')"
    )


def test_picking_a_head_shows_its_best_event(opened_page: Any) -> None:
    view = opened_page.locator("#heads-attention")
    opened_page.evaluate("mnemoscope.pick(document.querySelector('#heads-map'), 2, 0)")
    opened_page.wait_for_function(
        "document.querySelector('#heads-attention .status').innerText.includes('layer 2, head 0')"
    )
    assert view.locator("label", has_text="Prompt").locator("select").input_value() == "1"
    assert view.locator("label", has_text="Best events").locator("option").all_inner_texts() == [
        "choose",
        "the best event",
        "</script><script>document.title='owned'</script>",
    ]


def test_switches_change_one_chart_and_are_radio_buttons(opened_page: Any) -> None:
    title = opened_page.locator("#heads-map .canvas")
    assert "Prefix matching (share of attention), value, random" in title.inner_text()
    opened_page.locator("#heads-map input[name=score]").nth(1).focus()
    opened_page.keyboard.press("Space")
    opened_page.wait_for_function(
        "document.querySelector('#heads-map .canvas').textContent.includes('Copying (embedding) (share')"
    )
    assert opened_page.locator("#heads-cause input[name=score]").first.is_checked()


def test_csv_download_holds_the_table(opened_page: Any, small: Path, tmp_path: Path) -> None:
    with opened_page.expect_download() as download:
        opened_page.locator("#heads-map .downloads button", has_text="CSV").click()
    download.value.save_as(tmp_path / "map.csv")
    table = read_table(small / "tables" / "heads.parquet").drop("method")
    got = pl.read_csv(tmp_path / "map.csv", infer_schema_length=None)
    assert got.columns == table.columns
    assert got.height == table.height
    assert (got["estimate"] - table["estimate"]).abs().max() < 1e-6


def test_sorting_and_showing_all_rows(opened_page: Any) -> None:
    grid = opened_page.locator("#heads-ranking")
    grid.locator("th button", has_text="Layer").click()
    assert grid.locator("tbody tr").first.locator("td").first.inner_text() == "2"
    assert grid.locator("th[aria-sort=descending]").inner_text().startswith("Layer")


def test_islands_are_json_and_the_page_has_one_of_everything(small: Path) -> None:
    text = (small / "report.html").read_text()
    islands = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', text, re.DOTALL)
    assert len({name for name, _ in islands}) == len(islands) > 5
    assert all(json.loads(content) is not None for _, content in islands)
    assert text.count("<h1>") == 1
    assert text.count("window.vegaEmbed=") == 1
    assert "http-equiv" in text
    assert "default-src &#x27;none&#x27;" in text


def test_figures_lie_beside_the_page(small: Path) -> None:
    names = sorted(path.name for path in (small / "figures").iterdir())
    assert names == [f"heads-{n}.{e}" for n in ("cause", "control", "map") for e in ("png", "svg")]
    assert (small / "figures" / "heads-map.svg").read_text().startswith("<svg")
    assert (small / "figures" / "heads-map.png").read_bytes()[:4] == b"\x89PNG"


def test_reproduce_and_provenance_are_said(small: Path) -> None:
    text = (small / "report.html").read_text()
    assert "mnemoscope run heads handmade --allow-pickle --limit 3" in text
    assert "commit cccccccccccc" in text
    assert "2.13.0" in text


def test_a_run_of_all_studies_says_what_is_missing(make: Callable[..., Path], tmp_path: Path) -> None:
    parent = tmp_path / "all"
    provenance = Provenance(study="all", asked={}, identity={})
    keep_parent(
        parent, provenance, ("heads", "emergence", "recall"), {"emergence": "no <b>checkpoints</b> | try: --revisions"}
    )
    with pytest.raises(RunFolderError, match="holds no study yet"):
        write(parent)
    headline = pl.DataFrame({"order": [0], "text": ["Nothing stood out."]})
    make(parent / "heads", headlines=headline)
    text = write(parent).read_text()
    assert "Emergence during training was not run: no &lt;b&gt;checkpoints&lt;/b&gt; | try: --revisions" in text
    assert "Factual recall is missing: it has not been run yet." in text
    assert "Nothing stood out." in text
    assert "nothing was measured" in text


def test_a_study_without_a_section_shows_its_tables(make: Callable[..., Path], tmp_path: Path) -> None:
    headline = pl.DataFrame({"order": [0], "text": ["Something."]})
    text = write(make(tmp_path / "run", study="toy", headlines=headline)).read_text()
    assert "There are no tables." in text
    assert "Something." in text


def test_failed_jobs_and_repairs_are_said(make: Callable[..., Path], tmp_path: Path) -> None:
    run = read(make(tmp_path / "run"))
    record = {
        **run.record,
        "jobs": {"planned": 4, "failed": 1},
        "failed_jobs": {"j1": "OSError: <disk>"},
        "state": "finished",
    }
    run = type(run)(path=run.path, record=record, tables=run.tables, journal=run.journal, notes=("line 3 was damaged",))
    text = html([run], [section_of(run)], missing=Safe(""))
    assert "1 of 4 jobs failed; the tables hold the others." in text
    assert "Job j1 failed: OSError: &lt;disk&gt;" in text
    assert "Repaired: line 3 was damaged" in text


def test_notebooks_get_the_same_page_in_a_frame(small: Path) -> None:
    frame = framed(small)
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert frame.endswith("</iframe>")


@pytest.mark.slow
def test_a_large_model_stays_below_15_megabytes(
    make: Callable[..., Path], hands: Any, browser: Any, tmp_path: Path
) -> None:
    """32 layers, 32 heads, 17 relations in every variant, 50 shown prompts of 96 tokens; drawn, switched, and saved as CSV."""
    ordinary = hands.head_rows(32, 32)
    heads = pl.concat([ordinary, hands.relation_rows(32, 32).select(ordinary.columns)])
    tables = {"heads": heads, "claims": hands.claims(), **hands.shown(32, 32, 50, 96)}
    page = write(make(tmp_path / "run", **tables))
    assert heads.height > 300_000
    assert page.stat().st_size < 15 * 2**20
    tab = browser.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("#heads-map[data-drawn]", timeout=120_000)
    assert tab.locator("#heads-map .canvas path[aria-roledescription='rect mark']").count() == 2 * 32 * 32
    assert tab.locator("#heads-attention select").first.locator("option").count() == 50
    tab.locator("#heads-map select").first.select_option(label="RI-out, percentile")
    tab.wait_for_function(
        "document.querySelector('#heads-map .canvas').textContent.includes('RI-out, percentile')", timeout=120_000
    )
    assert tab.locator("#heads-map .canvas path[aria-roledescription='rect mark']").count() == 2 * 32 * 32
    with tab.expect_download(timeout=240_000) as download:
        tab.locator("#heads-map .downloads button", has_text="CSV").click()
    download.value.save_as(tmp_path / "map.csv")
    saved = pl.read_csv(tmp_path / "map.csv", infer_schema_length=None, schema_overrides={"relation": pl.String})
    assert saved.height == heads.height
    kept = pl.read_parquet(page.parent / "tables" / "heads.parquet")
    assert (saved["estimate"] - kept["estimate"]).abs().max() < 6e-4  # four digits of numbers up to 1
    tab.close()
