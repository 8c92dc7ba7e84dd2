"""A look in the terminal: dense, in colour where there is colour, complete in numbers where there is none.

Whatever a token says is shown, never obeyed: texts enter as `rich.text.Text`, characters that act are named (U+202E), a
line feed is an arrow.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mnemoscope.report.html import shortened, visible
from mnemoscope.report.theme import DIVERGING, SEQUENTIAL
from mnemoscope.results.look import Candidate, HeadLine, Look

WIDE = 108  # columns from which tables stand side by side
LONGEST = 18
COLUMNS = 12  # layers of the patch map, positions of it
PATTERNS = 4  # heads whose attention is drawn on the tokens
NONE = "·"


def screen(found: Look, *, top: int, page: Path | None) -> None:
    """Print it."""
    console = Console(highlight=False, soft_wrap=False)
    wide = console.width >= WIDE
    console.print(_head(found))
    console.print(_beside([_predictions(found), _layers(found)], wide))
    console.print(_heads(found, top, keys=3 if wide else 1))
    if found.attention:
        console.print(_patterns(found, min(top, PATTERNS)))
    if found.entries:
        console.print(_map(found))
    console.print(_trust(found))
    if page is not None:
        console.print(Text.assemble(("page  ", "dim"), str(page)))


def word(text: str, most: int = LONGEST) -> str:
    """A token in quotes, whatever is in it."""
    return f"'{visible(shortened(text, most)).replace(chr(10), '↵').replace(chr(9), '→')}'"


def number(value: float, places: int = 2) -> str:
    """A signed number, a dot where there is none."""
    return NONE if math.isnan(value) else f"{value:+.{places}f}".replace("-", "−")


def percent(value: float) -> str:
    """A probability; small ones as a power of ten."""
    if math.isnan(value):
        return NONE
    return f"{100 * value:.1f}%" if value >= 5e-4 else f"{value:.0e}" if value else "0"


def asked(found: Look) -> str:
    """The quantity in short."""
    return f"{word(found.token.text)} − " + ("mean of the vocabulary" if found.foil is None else word(found.foil.text))


def _head(found: Look) -> RenderableType:
    best = found.predictions[0]
    lines = [
        Text.assemble(
            (visible(found.model), "bold"), (f"  {found.dtype} on {found.device}  {found.seconds:.1f} s", "dim")
        ),
        Text.assemble(
            visible(shortened(found.prompt, 600)).replace("\n", "↵"),
            ("  →  ", "dim"),
            (word(best.text), "bold green"),
            f"  {percent(best.probability)}",
        ),
    ]
    if found.foil_prompt:
        lines.append(
            Text.assemble(("foil prompt  ", "dim"), visible(shortened(found.foil_prompt, 600)).replace("\n", "↵"))
        )
    value = Text.assemble(("measured  ", "dim"), asked(found), (f"  {number(found.value)} logits", "bold"))
    if found.foil_prompt:
        value.append(f", {number(found.foil_value)} in the foil prompt")
    lines.append(value)
    lines += [Text(f"note  {visible(note)}", style="dim") for note in found.notes]
    return Group(*lines)


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )


def _beside(parts: Sequence[RenderableType], wide: bool) -> RenderableType:
    if not wide:
        return Group(*(Padding(part, (1, 0, 0, 0)) for part in parts))
    grid = Table.grid(padding=(0, 5, 0, 0))
    grid.add_row(*parts)
    return Padding(grid, (1, 0, 0, 0))


def _predictions(found: Look) -> Table:
    table = _table("next token")
    for name in ("", "p", "logit", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    listed = list(found.predictions)
    listed += [c for c in (found.token, found.foil) if c is not None and c.token not in {p.token for p in listed}]
    for candidate in listed:
        table.add_row(*_candidate(found, candidate))
    return table


def _candidate(found: Look, candidate: Candidate) -> tuple[Text, ...]:
    role = "token" if candidate.token == found.token.token else ""
    role = "foil" if found.foil is not None and candidate.token == found.foil.token else role
    style = {"token": "bold green", "foil": "bold dark_orange"}.get(role, "")
    bar = "█" * round(10 * candidate.probability) or ("▏" if candidate.probability >= 0.01 else "")
    rank = "" if candidate in found.predictions else f" rank {candidate.rank + 1:,.0f}"
    return (
        Text(word(candidate.text), style=style),
        Text(percent(candidate.probability)),
        Text(f"{candidate.logit:.2f}".replace("-", "−")),
        Text(bar + rank, style="cyan"),
    )


def _layers(found: Look) -> Table:
    token = word(found.token.text)
    table = _table("logit lens after each layer; direct push (logits)")
    for name in ("layer", "would say", "p", f"rank of {token}", "p", "attention", "MLP"):
        table.add_column(name, justify="left" if name == "would say" else "right", no_wrap=True)
    largest = max((abs(v) for line in found.layers for v in (line.attention, line.mlp) if v == v), default=1.0)
    for line in found.layers:
        says = Text(word(line.top), style="bold green" if line.rank < 1 else "")
        table.add_row(
            str(line.layer),
            says,
            percent(line.top_probability),
            f"{line.rank + 1:,.0f}",
            percent(line.probability),
            coloured(number(line.attention), line.attention / largest),
            coloured(number(line.mlp), line.mlp / largest),
        )
    return table


def coloured(text: str, share: float) -> Text:
    """A number in blue where it is positive, in orange where it is negative; dim where it is small."""
    if math.isnan(share) or abs(share) < 0.1:
        return Text(text, style="dim")
    return Text(text, style=("bold " if abs(share) > 0.5 else "") + ("dodger_blue1" if share > 0 else "dark_orange"))


def _heads(found: Look, top: int, *, keys: int) -> RenderableType:
    if not found.heads:
        return Text("")
    table = _table(f"heads at the last position, on {asked(found)} (logits)")
    done = "zeroed" if found.change == "zeroed" else "from foil"
    for name in (
        "pushes most",
        "push",
        done,
        "",
        "changes most",
        done,
        "push",
        "looks at",
    ):
        table.add_column(name, justify="right" if name in ("push", done) else "left", no_wrap=name != "looks at")
    columns = {by: found.ranked(by)[:top] for by in ("direct", "effect")}
    sizes = {by: max((abs(getattr(line, by)) for line in lines), default=1.0) or 1.0 for by, lines in columns.items()}

    def cell(line: HeadLine, by: str) -> Text:
        value = float(getattr(line, by))
        return coloured(number(value), value / sizes[by])

    for index in range(max(map(len, columns.values()))):
        cells: list[Text] = []
        for by, other in (("direct", "effect"), ("effect", "direct")):
            line = columns[by][index] if index < len(columns[by]) else None
            cells += [Text("")] * 3 if line is None else [_name(line), cell(line, by), cell(line, other)]
        line = next((columns[by][index] for by in ("effect", "direct") if index < len(columns[by])), None)
        table.add_row(*cells[:3], "", *cells[3:], _seen(found, line, keys) if line is not None else Text(""))
    legend = f"push: what the head itself writes towards {word(found.token.text)}; {done}: change when its z is {found.change}, "
    legend += "< 0: it was needed"
    return Padding(Group(table, Text(legend, style="dim")), (1, 0, 0, 0))


def _name(line: HeadLine) -> Text:
    return Text(f"L{line.layer}H{line.head}", style="bold")


def _seen(found: Look, line: HeadLine, most: int) -> Text:
    keys = [f"{word(found.tokens[key], 10)} {weight:.2f}".replace("0.", ".") for key, weight in line.attends[:most]]
    return Text("  ".join(keys), style="dim")


def _patterns(found: Look, most: int) -> RenderableType:
    """The prompt once per head, its tokens coloured by the attention of the last position."""
    rows = {(r.layer, r.head): r.weights for r in found.attention if r.query == len(found.tokens) - 1}
    lines = [Text("attention from the last token", style="bold")]
    for line in found.shown_heads(most):
        text = Text.assemble((f"L{line.layer}H{line.head}".ljust(8), "bold"))
        for token, weight in zip(found.tokens, rows.get((line.layer, line.head), ()), strict=False):
            shown = visible(shortened(token, 60)).replace("\n", "↵")
            text.append(shown, style=_heat(weight))
            text.append(" " if token.startswith("#") else "")  # ids instead of words
        lines.append(text)
    return Padding(Group(*lines), (1, 0, 0, 0))


def _heat(weight: float) -> str:
    """Background by attention, on the page's dark scale; ink that can be read on it."""
    ramp = SEQUENTIAL["dark"]
    step = min(len(ramp) - 1, math.floor(math.sqrt(min(1.0, max(0.0, weight))) * len(ramp)))
    return f"{'#0b1016' if step >= 4 else '#e7eaed'} on {ramp[step]}"


def _map(found: Look) -> RenderableType:
    """Tokens by layers; the tokens and layers that matter if there are too many."""
    largest = max(abs(entry.effect) for entry in found.entries) or 1.0
    layers = sorted({entry.layer for entry in found.entries})
    step = math.ceil(len(layers) / COLUMNS)
    layers = layers[::step]
    effect = {(entry.position, entry.layer): entry.effect for entry in found.entries}
    size = {p: max(abs(e.effect) for e in found.entries if e.position == p) for p, _ in effect}
    positions = sorted(sorted(size, key=lambda p: -size[p])[:COLUMNS])
    table = _table(f"stream into a layer taken from the foil prompt: change of {asked(found)} (logits)")
    table.add_column("token", no_wrap=True)
    table.add_column("foil", no_wrap=True, style="dim")
    for layer in layers:
        table.add_column(f"L{layer}", justify="right", no_wrap=True)
    for p in positions:
        cells = [_cell(effect[p, layer], largest) for layer in layers]
        table.add_row(word(found.tokens[p]), word(found.foil_tokens[p]), *cells)
    hidden = len(size) - len(positions)
    note = [Text(f"{hidden} more positions with smaller changes", style="dim")] if hidden else []
    return Padding(Group(table, *note), (1, 0, 0, 0))


def _cell(value: float, largest: float) -> Text:
    ramp = DIVERGING["dark"]
    step = round((1 + max(-1.0, min(1.0, value / largest))) / 2 * (len(ramp) - 1))
    ink = "#0b1016" if step in (0, 1, len(ramp) - 1, len(ramp) - 2) else "#e7eaed"
    return Text(number(value, 1), style=f"{ink} on {ramp[step]}")


def _trust(found: Look) -> RenderableType:
    """One line of what was proven; a line for what does not hold or is not there."""
    good = [proof for proof in found.proofs if proof.ok]
    parts = [
        f"{p.identity} {p.error:.0e} ≤ {p.allowed:.0e} {p.unit} (n = {p.n})" if p.n else f"{p.identity} by {p.detail}"
        for p in good
    ]
    lines = [Text.assemble(("verified  ", "green"), ("; ".join(parts) or "nothing", "dim"))]
    lines += [
        Text(f"does not hold  {p.identity}: {p.error:.1e}, {p.allowed:.1e} {p.unit} is rounding", style="bold red")
        for p in found.proofs
        if not p.ok
    ]
    lines += [Text.assemble(("not available  ", "yellow"), f"{what}: {visible(why)}") for what, why in found.missing]
    return Padding(Group(*lines), (1, 0, 0, 0))
