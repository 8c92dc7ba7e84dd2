"""What the page of one prompt is made of: what comes next, layer by layer, heads with their attention, where prompts differ."""

import altair as alt
import numpy as np
import polars as pl

from mnemoscope.report import words
from mnemoscope.report.charts import dots, rounded
from mnemoscope.report.html import shortened, visible
from mnemoscope.report.section import MAIN, Block, Figure, Grid, Tokens
from mnemoscope.results.attention import attention_row, attention_table
from mnemoscope.results.look import Look
from mnemoscope.results.schema.shared import SHOWN_PROMPTS

LONGEST = 40  # characters of a token in a table or on an axis


def quantity(found: Look) -> str:
    """The quantity in words."""
    token = repr(visible(found.token.text))
    return f"logit of {token} minus " + (
        "the mean logit of the vocabulary" if found.foil is None else f"logit of {visible(found.foil.text)!r}"
    )


def _token(text: str) -> str:
    return visible(shortened(text, LONGEST))


def predictions(found: Look) -> Grid:
    """The most probable next tokens, with the token asked for and its foil."""
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


def layers(found: Look) -> list[Block]:
    """Lens and direct pushes, layer by layer."""
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


def heads(found: Look) -> list[Block]:
    """Heads by direct push and by effect, with their attention on the tokens."""
    if not found.heads:
        return []
    data = _lines(found)
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


def _lines(found: Look) -> pl.DataFrame:
    """A row per head, by size of the effect, those without one at the end."""
    ranked = (*found.ranked("effect"), *(h for h in found.ranked("direct") if h.effect != h.effect))
    return pl.DataFrame(
        [
            {
                "layer": line.layer,
                "head": line.head,
                "direct": line.direct,
                "effect": line.effect,
                "looks_at": ", ".join(f"{_token(found.tokens[key])} {weight:.2f}" for key, weight in line.attends[:3]),
            }
            for line in ranked
        ]
    )


def _attention(found: Look) -> list[Block]:
    if not found.attention:
        return []
    rows = attention_table(
        [attention_row("0", r.layer, r.head, r.query, np.array(r.weights, dtype=float)) for r in found.attention]
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


def patch_map(found: Look) -> list[Block]:
    """Layer by position: the effect of the stream taken from the foil prompt."""
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
