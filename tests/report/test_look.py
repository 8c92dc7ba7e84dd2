"""The page of one prompt, from a record made by hand: offline, hostile tokens inert, whole or not there."""

import math
from pathlib import Path
from typing import Any

import pytest

HOSTILE = "</script><script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def record() -> Any:
    from mnemoscope.results.look import AttentionRow, Candidate, Entry, HeadLine, LayerLine, Look, Proof

    tokens = ("<s>", " one", HOSTILE, "\u202egnp")
    best = Candidate(token=5, text=HOSTILE, logit=3.0, probability=0.5, rank=0.0)
    cells = [(layer, head) for layer in range(2) for head in range(3)]
    line = {"rank": 0.0, "probability": 0.5, "logit": 3.0, "top": HOSTILE, "top_probability": 0.5}
    return Look(
        model="handmade",
        dtype="float32",
        device="cpu",
        prompt=HOSTILE,
        tokens=tokens,
        predictions=(best,),
        token=best,
        foil=None,
        quantity="logit_minus_mean",
        value=2.5,
        change="taken from the foil prompt",
        foil_prompt="another",
        foil_tokens=tokens,
        foil_value=0.5,
        layers=tuple(LayerLine(layer=i, attention=0.5, mlp=math.nan, **line) for i in range(2)),
        heads=tuple(
            HeadLine(layer=i, head=h, direct=0.1 * h, effect=math.nan if h == 2 else -0.3 * i, attends=((2, 0.75),))
            for i, h in cells
        ),
        entries=tuple(Entry(layer=i, position=p, effect=i - p / 2) for i in range(2) for p in (2, 3)),
        attention=tuple(AttentionRow(layer=i, head=h, query=3, weights=(0.05, 0.1, 0.75, 0.1)) for i, h in cells),
        proofs=(Proof(identity="parts = stream", error=1e-7, allowed=1e-6, unit="logits", n=3),),
        missing=(("patch map", HOSTILE),),
    )


def test_the_order_of_heads(record: Any) -> None:
    by_effect = [(line.layer, line.head) for line in record.ranked("effect")]
    assert by_effect == [(1, 0), (1, 1), (0, 0), (0, 1)]  # nan is no effect: left out, never 0
    assert [(line.layer, line.head) for line in record.shown_heads(3)] == [(1, 0), (0, 2), (1, 1)]
    assert record.to_dict()["layers"][0]["mlp"] is None


def test_the_page_opens_without_a_network(record: Any, browser: Any, tmp_path: Path) -> None:
    from mnemoscope.report.look import write

    path = write(record, tmp_path / "look.html")
    context = browser.new_context()
    page = context.new_page()
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.goto(path.as_uri())
    for anchor in ("layers-lens", "heads-scatter", "map-entries"):
        page.locator(f"#{anchor}").scroll_into_view_if_needed()
        page.wait_for_selector(f"#{anchor}[data-drawn]")
    assert (requests, problems) == ([path.as_uri()], [])
    assert page.title() == "handmade looks at one prompt"
    assert HOSTILE in page.locator("h1 + p").inner_text()
    assert "0.75 to 2" in page.locator("#heads-attention .status").inner_text()
    context.close()


def test_whole_or_not_there(record: Any, tmp_path: Path) -> None:
    from mnemoscope.errors import InputError
    from mnemoscope.report.look import write

    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"is a regular file.*another path"):
        write(record, tmp_path / "file" / "look.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
