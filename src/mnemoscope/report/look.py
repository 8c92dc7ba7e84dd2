"""The page of one prompt: what `mnemoscope look --html FILE` writes, from the plain record alone. No torch, no network.

The order is that of the terminal: what comes next; how it forms layer by layer; which heads push it and which are needed,
with their attention on the tokens; where a foil prompt differs; what was proven, and what this model does not allow.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from mnemoscope.errors import InputError, RunFolderError
from mnemoscope.report import words
from mnemoscope.report.blocks import rendered
from mnemoscope.report.html import Child, Safe, element, joined, shortened, visible
from mnemoscope.report.look_blocks import heads, layers, patch_map, predictions, quantity
from mnemoscope.report.page import shell
from mnemoscope.report.section import Block
from mnemoscope.results.look import Look
from mnemoscope.results.parquet import write_whole


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
        ("next", "Next token", [predictions(found)]),
        ("layers", "Layer by layer", layers(found)),
        ("heads", "Heads", heads(found)),
        ("map", "Where the prompts differ", patch_map(found)),
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
