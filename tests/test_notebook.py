"""The notebook that people open first runs from top to bottom, and what it says of its own exactness is true."""

import json
from pathlib import Path

import pytest

from mnemoscope.axes import STUDIES

NOTEBOOK = Path(__file__).parent.parent / "examples" / "first_look.ipynb"
PROVEN = "print('verified', found.verification.largest <= found.verification.tolerance, report.ok)"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the kernel's own process and its transport warn of what is not ours
def test_the_notebook_runs() -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    notebook.cells.append(nbformat.v4.new_code_cell(PROVEN))
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    assert notebook.cells[-1].outputs[0]["text"] == "verified True True\n"
    (page,) = notebook.cells[-2].outputs  # the run itself, as the last line of a cell
    assert page["data"]["text/html"].startswith('<iframe srcdoc="&lt;!doctype html&gt;')


def test_the_notebook_shows_every_study() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert [name for name in STUDIES if f'ms.run("{name}", lm' not in text] == []
