"""Run folders whose tables are made by hand, and a browser without a network."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

STUDIES = ("heads", "emergence", "recall", "icl")
HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src='https://example.invalid/x.png' onerror=\"document.title='owned'\">",
    "\u202egnp.exe",
    "\u2028<!--",
    "x" * 10_000,
    "{{7*7}}${7*7}",
)


def head_rows(layers: int, heads: int, seed: int = 0) -> pl.DataFrame:
    """Every score near its chance level, but for one planted head: the last layer's head 1."""
    from mnemoscope.results.schema.heads import COPIES, SCORES

    rng = np.random.default_rng(seed)
    cells = pl.DataFrame({"layer": np.repeat(np.arange(layers), heads), "head": np.tile(np.arange(heads), layers)})
    pieces = []
    for copy in COPIES:
        for score in SCORES:
            chance = 0.0 if score == "ablation_loss" else 0.02
            values = chance + rng.normal(size=cells.height) * 0.004
            if copy == "trained" and score in ("prefix_matching", "ablation_loss"):
                values[(layers - 1) * heads + 1] = 0.75
            pieces.append(
                cells.with_columns(
                    copy=pl.lit(copy),
                    corpus=pl.lit("random"),
                    score=pl.lit(score),
                    relation=pl.lit(""),
                    estimate=pl.Series(values),
                    low=pl.Series(values - 0.01),
                    high=pl.Series(values + 0.01),
                    chance=pl.lit(chance),
                    p_maxt=pl.Series(np.where(values > 0.5, 0.0005, 1.0)),
                    n=pl.lit(960, dtype=pl.Int64),
                    n_units=pl.lit(32, dtype=pl.Int64),
                    method=pl.lit("by hand"),
                    reason=pl.lit(""),
                )
            )
    return pl.concat(pieces)


LETTERS = ("COMPARE", "CONJUNCTION", "EVALUATE-FOR", "FEATURE-OF", "HYPONYM-OF", "PART-OF", "USED-FOR")
RELATIONS = {"letters": LETTERS, "things": LETTERS, "trees": ("mod", "obj", "subj")}


def relation_rows(layers: int, heads: int, seed: int = 0) -> pl.DataFrame:
    """The relation index in every variant of every relation and corpus, all of it supported: as many rows as there can be."""
    from mnemoscope.results.schema.heads import COPIES, RELATION_SCORES

    rng = np.random.default_rng(seed)
    cells = pl.DataFrame({"layer": np.repeat(np.arange(layers), heads), "head": np.tile(np.arange(heads), layers)})
    asked = [(corpus, relation) for corpus, names in RELATIONS.items() for relation in names]
    kinds = pl.DataFrame(
        list(itertools.product(COPIES, RELATION_SCORES, asked)), schema=["copy", "score", "asked"], orient="row"
    ).select(
        "copy", "score", pl.col("asked").list.get(0).alias("corpus"), pl.col("asked").list.get(1).alias("relation")
    )
    rows = kinds.join(cells, how="cross")
    values = rng.uniform(size=rows.height)
    return rows.with_columns(
        estimate=pl.Series(values),
        low=pl.Series(values - rng.uniform(0.01, 0.1, rows.height)),
        high=pl.Series(values + rng.uniform(0.01, 0.1, rows.height)),
        chance=pl.Series(rng.uniform(size=rows.height)),
        p_maxt=pl.Series(rng.uniform(size=rows.height)),
        n=pl.Series(rng.integers(10, 400, rows.height)),
        n_units=pl.Series(rng.integers(10, 17, rows.height)),
        method=pl.lit("by hand"),
        reason=pl.lit(""),
    )


def shown(layers: int, heads: int, prompts: int, length: int, *, hostile: bool = False) -> dict[str, pl.DataFrame]:
    """Prompts of `length` tokens; head 1 of the last layer attends from the query to token 2 with weight 200/255."""
    rng = np.random.default_rng(1)
    words = np.array([" one", " two", " three", " four", "\n"])
    names = [f"p{i:02d}" for i in range(prompts)]
    tokens = [["<s>", *words[rng.integers(0, 5, length - 1)]] for _ in names]
    if hostile:
        tokens[0][1 : 1 + len(HOSTILE)] = HOSTILE
    cells = layers * heads
    weights = rng.integers(0, 12, size=(prompts, cells, length - 2)).astype(np.uint8)
    weights[:, (layers - 1) * heads + 1, 2] = 200
    rows = pl.DataFrame(
        {
            "prompt": np.repeat(names, cells),
            "layer": np.tile(np.repeat(np.arange(layers), heads), prompts),
            "head": np.tile(np.tile(np.arange(heads), layers), prompts),
            "query": np.full(prompts * cells, length - 3),
            "keys": pl.Series([[]] * (prompts * cells), dtype=pl.List(pl.UInt16)),
            "weights": pl.Series(weights.reshape(-1, length - 2)).cast(pl.List(pl.UInt8)),
        }
    )
    events = {
        "layer": [layers - 1] * 2,
        "head": [0] * 2,
        "rank": [0, 1],
        "prompt": [names[-1], names[0]],
        "query": [length - 3] * 2,
        "title": ["the best event", HOSTILE[0]],
    }
    table = {"prompt": names, "title": [f"text {n}" for n in names], "tokens": tokens, "query": [length - 3] * prompts}
    return {"shown_prompts": pl.DataFrame(table), "attention_rows": rows, "shown_events": pl.DataFrame(events)}


def claims() -> pl.DataFrame:
    nan = float("nan")
    rows = [
        ("C1 above", "supported", 0.62, 0.55, 0.69, 0.0005, 0.05, 3600, 48, "interval above .05", "", "heads"),
        ("C2 between", "undetermined", 0.08, -0.03, 0.2, 0.16, 0.1, 900, 48, "interval above .1", "MDE .14", "heads"),
        ("C3 below", "contradicted", -0.21, -0.3, -0.12, 0.002, 0.05, 900, 48, "interval above .05", "", "heads"),
        (HOSTILE[0], "not testable", nan, nan, nan, nan, 0.05, 0, 0, HOSTILE[1], HOSTILE[2], ""),
    ]
    from mnemoscope.results.schema.shared import CLAIMS

    return pl.DataFrame(rows, schema=CLAIMS.schema, orient="row")


@pytest.fixture(scope="session")
def make() -> Callable[..., Path]:
    """make(path, study="heads", **tables): a finished run folder that holds these tables."""

    def made(path: Path, study: str = "heads", **tables: pl.DataFrame) -> Path:
        from importlib import import_module

        from mnemoscope.results.provenance import Provenance, environment
        from mnemoscope.results.schema import shared
        from mnemoscope.results.store import opened

        own = import_module(f"mnemoscope.results.schema.{study if study in STUDIES else 'heads'}").TABLES
        identity: dict[str, Any] = {
            "config": {"seed": 0, "data": None},
            "model": {
                "name": "handmade",
                "class": "Llama",
                "dtype": "float32",
                "device": "cpu",
                "content": {"commit": "c" * 40},
            },
            "threads": 1,
            "versions": {"torch": "2.13.0"},
        }
        asked = {"study": study, "model": "handmade", "limit": 3, "allow_pickle": True}
        provenance = Provenance(study=study, asked=asked, identity=identity, environment=environment())
        with opened(path, provenance) as folder:
            folder.log({"job": "a", "status": "done", "seconds": 2.0})
            folder.finalise(tables, {**shared.TABLES, **own}, jobs={"planned": 1, "done": 1, "failed": 0})
        return path

    return made


@pytest.fixture(scope="session")
def small(make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the heads study on 3 x 4 heads, with hostile text wherever text can be."""
    from mnemoscope.report.page import write

    order = pl.DataFrame({"order": [0, 1], "text": ["1 of 12 heads matches prefixes.", HOSTILE[0]]})
    tables = {"heads": head_rows(3, 4), "claims": claims(), "headlines": order, **shown(3, 4, 2, 16, hostile=True)}
    path = make(tmp_path_factory.mktemp("small") / "run", **tables)
    write(path)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; skipped by name where there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        if os.environ.get("MNEMOSCOPE_REQUIRE"):
            pytest.fail("chromium is absent, and MNEMOSCOPE_REQUIRE is set")
        pytest.skip("chromium is absent")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=binary, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield started
        started.close()


@pytest.fixture
def opened_page(browser: Any, small: Path) -> Iterator[Any]:
    """The small report in a page whose every request but the file itself is refused, and counted in `page.requests`."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.requests, page.problems = [], []
    page.route(lambda url: not url.startswith("file:"), lambda route: route.abort())
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.problems.append(message.text))
    page.goto((small / "report.html").as_uri())
    page.wait_for_selector("#heads-map[data-drawn]")
    yield page
    context.close()


@pytest.fixture(scope="session")
def hands() -> Any:
    """The functions that make tables by hand."""
    from types import SimpleNamespace

    return SimpleNamespace(head_rows=head_rows, relation_rows=relation_rows, claims=claims, shown=shown)


def filled(table: Any, seed: int = 0, most: int = 900) -> pl.DataFrame:
    """Valid rows of a declared table: its key's words and small numbers crossed, hostile text wherever text is free."""
    rng = np.random.default_rng(seed)
    options = {column.name: _options(column) for column in table.columns if column.name in table.key}
    keys = [dict(zip(options, row, strict=True)) for row in itertools.product(*options.values())]
    keys = [keys[i] for i in sorted(rng.permutation(len(keys))[:most])]
    rows = []
    for i, key in enumerate(keys):
        middle = float(rng.normal())
        numbers = {
            "estimate": middle,
            "low": middle - 0.5,
            "high": middle + 0.5,
            "chance": 0.1,
            "p": 0.02,
            "p_maxt": 0.02,
        }
        others = {
            column.name: numbers.get(column.name, _other(column, rng, i))
            for column in table.columns
            if column.name not in key
        }
        rows.append({**key, **others})
    return pl.DataFrame(rows, schema=table.schema)


WORDS = {  # what sections look for in columns whose words are not declared
    "measure": ["rank", "logit", "right", "logprob"],
    "task": ["passages", "lines"],
    "condition": ["none", "example"],
    "kind": ["partial", "spearman"],
    "behaviour": ["logprob", HOSTILE[0]],
}


def _options(column: Any) -> list[Any]:
    if column.name in WORDS and not column.values:
        return WORDS[column.name]
    if column.values:
        return list(column.values)[:4]
    if column.dtype == pl.Int64:
        return [0, 1]
    if column.dtype == pl.Boolean:
        return [False, True]
    return [0.0, 1.0] if column.dtype == pl.Float64 else ["plain", HOSTILE[0]]


def _other(column: Any, rng: np.random.Generator, i: int) -> Any:
    if column.values:
        return column.values[i % len(column.values)]
    if column.dtype == pl.Boolean:
        return bool(i % 2)
    if column.dtype == pl.Int64:
        return int(rng.integers(1, 30))
    if column.dtype == pl.Float64:
        return float(rng.uniform())
    if column.dtype == pl.String:
        return HOSTILE[i % len(HOSTILE)]
    return []


@pytest.fixture(scope="session")
def whole(make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all four studies, every declared table filled by its declaration."""
    from importlib import import_module

    from mnemoscope.report.page import write
    from mnemoscope.results.provenance import Provenance
    from mnemoscope.results.store import keep_parent

    path = tmp_path_factory.mktemp("whole") / "run"
    keep_parent(path, Provenance(study="all", asked={"study": "all"}, identity={}, environment={}), STUDIES, {})
    order = pl.DataFrame({"order": [0, 1], "text": ["Something was found.", HOSTILE[0]]})
    for study in STUDIES:
        declared = import_module(f"mnemoscope.results.schema.{study}").TABLES
        tables = {name: filled(table) for name, table in declared.items() if not _keeps_lists(table)}
        tables |= {"claims": claims().with_columns(evidence=pl.lit(next(iter(tables)))), "headlines": order}
        if study == "heads":
            tables["heads"] = head_rows(3, 4)
        if study != "emergence":
            tables |= shown(3, 4, 2, 16, hostile=True)
        make(path / study, study=study, **tables)
    with pytest.MonkeyPatch.context() as patch:  # the files beside the page have tests of their own
        patch.setattr("mnemoscope.report.page.write_figures", lambda *_: ())
        write(path)
    return path


def _keeps_lists(table: Any) -> bool:
    return any(isinstance(dtype, pl.List | pl.Array) for dtype in table.schema.values())
