"""The page of one prompt: what `mnemoscope look --html FILE` writes, from the plain record alone. No torch, no network.

The order is that of the terminal: what comes next; how it forms layer by layer; which heads push it and which are needed,
with their attention on the tokens; where a foil prompt differs; what was proven, and what this model does not allow.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import altair as alt
import polars as pl

from mnemoscope.errors import InputError, RunFolderError
from mnemoscope.report import words
from mnemoscope.report.blocks import rendered
from mnemoscope.report.charts import dots, rounded
from mnemoscope.report.html import Child, Safe, element, joined, shortened, visible
from mnemoscope.report.page import shell
from mnemoscope.report.section import MAIN, Block, Figure, Grid, Tokens
from mnemoscope.results.look import Look
from mnemoscope.results.parquet import write_whole
from mnemoscope.results.schema.shared import ATTENTION_ROWS, SHOWN_PROMPTS

LONGEST = 40  # characters of a token in a table or on an axis


def refuse_unwritable(path: Path) -> None:
    """Raise InputError before anything is computed if a page could not be put there."""
    parent = path.parent
    found = (
        f"{path} is a folder"
        if path.is_dir()
        else f"{parent} is a regular file"
        if parent.is_file()
        else f"no folder {parent}"
        if not parent.is_dir()
        else ""
        if os.access(parent, os.W_OK)
        else f"{parent} is not writable"
    )
    if found:
        raise InputError(
            f"cannot write {path}", found=found, allowed="a file in an existing folder", hint="another path"
        )


def write(found: Look, path: Path) -> Path:
    """Write the page, whole or not at all. Raises InputError with what the operating system says."""
    refuse_unwritable(path)
    content = html(found).encode()
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, never replaced
            with path.open("wb", buffering=0) as file:
                file.write(content)
        else:
            write_whole(path, content)
    except (OSError, RunFolderError) as error:
        reason = error.found if isinstance(error, RunFolderError) else (error.strerror or str(error))
        raise InputError(
            f"cannot write {path}", found=reason, allowed="a file", hint="free space or another path"
        ) from error
    return path


def html(found: Look) -> str:
    """The page as text."""
    parts = [
        ("next", "Next token", [_predictions(found)]),
        ("layers", "Layer by layer", _layers(found)),
        ("heads", "Heads", _heads(found)),
        ("map", "Where the prompts differ", _map(found)),
    ]
    sections = [_section(anchor, title, blocks) for anchor, title, blocks in parts if blocks]
    links = [(anchor, title) for anchor, title, blocks in parts if blocks]
    return shell(
        f"{found.model} looks at one prompt",
        [*links, ("trust", "Trust")],
        _header(found),
        *sections,
        element("section", element("h2", "Trust"), _trust(found), id="trust"),
        element("footer", "Made by mnemoscope look."),
    )


def quantity(found: Look) -> str:
    """The quantity in words."""
    token = repr(visible(found.token.text))
    return f"logit of {token} minus " + (
        "the mean logit of the vocabulary" if found.foil is None else f"logit of {visible(found.foil.text)!r}"
    )


def _section(anchor: str, title: str, blocks: Sequence[Block]) -> Safe:
    inside: tuple[Child, ...] = tuple(rendered(block, anchor) for block in blocks)
    return element("section", element("h2", title), *inside, id=anchor, class_="study")


def _header(found: Look) -> Safe:
    token = found.token
    facts = [
        ("Next token", f"{visible(found.predictions[0].text)!r}, p = {words.number(found.predictions[0].probability)}"),
        ("Measured", f"{quantity(found)}: {words.number(found.value)} logits"),
        ("In the foil prompt", f"{words.number(found.foil_value)} logits" if found.foil_prompt else ""),
        ("Rank of the token", words.count(int(token.rank) + 1)),
        ("Computed in", f"{found.dtype} on {found.device}"),
        ("Notes", "; ".join(found.notes)),
    ]
    return element(
        "header",
        element("p", "mnemoscope look", class_="brand"),
        element("h1", found.model),
        element("p", shortened(found.prompt, 600), class_="subtitle"),
        *([element("p", f"Foil prompt: {shortened(found.foil_prompt, 600)}")] if found.foil_prompt else []),
        element("dl", *(_fact(name, text) for name, text in facts if text), class_="facts"),
    )


def _fact(name: str, value: str) -> Safe:
    return element("div", element("dt", name), element("dd", shortened(value, 300)))


def _token(text: str) -> str:
    return visible(shortened(text, LONGEST))


def _predictions(found: Look) -> Grid:
    named = {c.token: c for c in (*found.predictions, found.token, *([found.foil] if found.foil else []))}
    rows = [
        {
            "rank": int(c.rank) + 1,
            "token": _token(c.text),
            "id": c.token,
            "probability": c.probability,
            "logit": c.logit,
        }
        for c in sorted(named.values(), key=lambda c: c.rank)
    ]
    return Grid(
        id="predictions",
        title="What comes next",
        caption="The most probable next tokens; the token in question and its foil are among them.",
        data=pl.DataFrame(rows),
        most=20,
    )


def _layers(found: Look) -> list[Block]:
    if not found.layers:
        return []
    data = _layer_rows(found)
    return [
        _lens(found, data),
        Grid(
            id="table",
            title="Every layer",
            caption="Lens: what the layer would say, and rank, probability and logit of the token. attention, mlp: direct push "
            f"on the {quantity(found)}, in logits, final norm held.",
            data=data,
            labels={"its_probability": "Probability", "attention": "Attention (logits)", "mlp": "MLP (logits)"},
            most=100,
        ),
    ]


def _layer_rows(found: Look) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "layer": line.layer,
                "says": _token(line.top),
                "its_probability": line.top_probability,
                "rank": int(line.rank) + 1,
                "probability": line.probability,
                "logit": line.logit,
                "attention": line.attention,
                "mlp": line.mlp,
            }
            for line in found.layers
        ]
    )


def _lens(found: Look, data: pl.DataFrame) -> Figure:
    token = repr(_token(found.token.text))
    line = (
        alt.Chart(MAIN)
        .mark_line(point=True)
        .encode(
            x=alt.X("layer:Q", title="after layer", scale=alt.Scale(nice=False), axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("rank:Q", title="rank of the token (1 is the top)", scale=alt.Scale(type="log", reverse=True)),
            tooltip=[
                "layer:O",
                "says:N",
                rounded("its_probability"),
                "rank:Q",
                rounded("probability"),
                rounded("logit"),
            ],
        )
    )
    return Figure(
        id="lens",
        title=f"Logit lens: the rank of {token} by layer",
        caption="What the stream after each layer would say if it were unembedded there. A reading of the stream, not a "
        "claim that later layers read it so.",
        chart=line.properties(width=620, height=220).to_dict(),
        data=data,
        alt=f"Rank of {token} in the logit lens, layer by layer.",
    )


def _heads(found: Look) -> list[Block]:
    if not found.heads:
        return []
    data = pl.DataFrame(
        [
            {
                "layer": line.layer,
                "head": line.head,
                "direct": line.direct,
                "effect": line.effect,
                "looks_at": ", ".join(f"{_token(found.tokens[key])} {weight:.2f}" for key, weight in line.attends[:3]),
            }
            for line in (*found.ranked("effect"), *(h for h in found.ranked("direct") if h.effect != h.effect))
        ]
    )
    changed = f"change when {found.change} (logits)"
    blocks: list[Block] = []
    if found.ranked("direct") and found.ranked("effect"):
        chart = dots("direct", "effect", x_title="direct push (logits)", y_title=changed, extra=["layer:O", "head:O"])
        blocks.append(
            Figure(
                id="scatter",
                title="Who pushes, and who is needed",
                caption=f"One dot per head, on the {quantity(found)}. Direct push: what the head adds itself. Vertical: how the "
                f"quantity changes when the head is {found.change} at the last position, effects through later layers included; "
                "below 0 the head was needed. Click a dot to see its attention.",
                chart=chart.to_dict(),
                data=data,
                alt="Scatter of each head's direct push against the effect of patching it.",
            )
        )
    if data.height:
        labels = {"direct": "Direct push (logits)", "effect": changed[:1].upper() + changed[1:], "looks_at": "Looks at"}
        blocks.append(
            Grid(
                id="ranking",
                title="Heads, ranked",
                caption="By size of the effect. Click a heading to sort, a row to see its attention.",
                data=data,
                labels=labels,
                picks=True,
            )
        )
    return [*blocks, *_attention(found)]


def _attention(found: Look) -> list[Block]:
    if not found.attention:
        return []
    rows = pl.DataFrame(
        [
            {"prompt": "0", "layer": r.layer, "head": r.head, "query": r.query, **_kept(r.weights)}
            for r in found.attention
        ],
        schema=ATTENTION_ROWS.schema,
    )
    shown = {"prompt": "0", "title": "the prompt", "tokens": list(found.tokens), "query": len(found.tokens) - 1}
    return [
        Tokens(
            id="attention",
            title="What a head attends to",
            caption="The outlined token is the query; the stronger a token's colour, the more attention it gets. A click or the "
            "arrow keys move the query where whole patterns were kept (the heads offered by name).",
            prompts=pl.DataFrame([shown], schema=SHOWN_PROMPTS.schema),
            rows=rows,
            named=tuple((line.layer, line.head) for line in found.shown_heads(16)),
        )
    ]


def _kept(weights: Sequence[float], most: int = 256, largest: int = 64) -> dict[str, list[int]]:
    """All weights up to 256 keys; above, the 64 largest with their keys."""
    if len(weights) <= most:
        keys: list[int] = []
        kept = list(weights)
    else:
        keys = sorted(sorted(range(len(weights)), key=lambda key: -weights[key])[:largest])
        kept = [weights[key] for key in keys]
    return {"keys": keys, "weights": [round(min(1.0, weight) * 255) for weight in kept]}


def _map(found: Look) -> list[Block]:
    if not found.entries:
        return []
    data = pl.DataFrame(
        [
            {
                "layer": e.layer,
                "position": e.position,
                "token": f"{e.position} {_token(found.tokens[e.position])}",
                "foil": _token(found.foil_tokens[e.position]),
                "effect": e.effect,
            }
            for e in found.entries
        ]
    )
    base = alt.Chart(MAIN).encode(
        x=alt.X("layer:O", title="into layer"),
        y=alt.Y("token:N", title=None, sort=alt.SortField("position")),
        tooltip=["layer:O", "token:N", "foil:N", rounded("effect", "change (logits)")],
    )
    top = float(f"{max(abs(e.effect) for e in found.entries) or 1.0:.3g}")
    scale = alt.Scale(domain=[-top, 0, top], type="linear", scheme="blueorange", reverse=True)
    chart = base.mark_rect().encode(color=alt.Color("effect:Q", scale=scale, title="logits"))
    return [
        Figure(
            id="entries",
            title="Where the difference enters",
            caption=f"Change of the {quantity(found)} when the stream into a layer at one token is taken from the foil prompt. "
            f"Over the whole prompt it goes from {words.number(found.value)} to {words.number(found.foil_value)} logits; tokens "
            "before the first difference cannot matter and are left out.",
            chart=chart.properties(width=alt.Step(24), height=alt.Step(22)).to_dict(),
            data=data,
            alt="Heat map of tokens by layers: effect of taking the stream from the foil prompt.",
        )
    ]


def _trust(found: Look) -> Safe:
    rows = [
        element(
            "tr",
            element("td", proof.identity),
            element("td", words.number(proof.error, 2), class_="number"),
            element("td", words.number(proof.allowed, 2) if proof.n else words.MISSING, class_="number"),
            element("td", proof.unit),
            element("td", words.count(proof.n), class_="number"),
            element("td", proof.detail or ("holds" if proof.ok else "does not hold")),
        )
        for proof in found.proofs
    ]
    heads = [
        element("th", name, scope="col")
        for name in ("Identity", "Largest difference", "Rounding", "Unit", "Compared", "")
    ]
    missing = [element("p", f"Not available: {what}. {why}", class_="warning") for what, why in found.missing]
    return joined(
        (
            element(
                "div",
                element("table", element("thead", element("tr", *heads)), element("tbody", *rows)),
                class_="scroll",
            ),
            *missing,
        )
    )
