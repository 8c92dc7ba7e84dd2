"""Plain texts: how each layout divides, what is lost in cutting (nothing), and which pieces are independent."""

import json
from pathlib import Path

import pytest

from mnemoscope.data import texts
from mnemoscope.data.leftout import counted
from mnemoscope.errors import DataError


def written(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


def test_each_layout_divides_at_its_own_marks(tmp_path: Path) -> None:
    stories = "one\n<|endoftext|>\ntwo\n<|endoftext|>\n"
    articles = " \n = First = \n \n a \n = 1 and k = \n \n = = Part = = \n \n b \n \n = Second = \n \n c \n"
    layouts = {"stories.txt": stories, "articles.txt": articles, "book.txt": "one\n\ntwo = x\n"}
    found = {
        name: [d.text for d in texts.read(written(tmp_path, name, text)).documents] for name, text in layouts.items()
    }
    assert found == {
        "stories.txt": ["one", "two"],
        "articles.txt": ["= First = \n \n a \n = 1 and k = \n \n = = Part = = \n \n b", "= Second = \n \n c"],
        "book.txt": ["one\n\ntwo = x"],
    }


@pytest.mark.parametrize("value", [["one", "", "two"], [{"text": "one"}, {"text": " "}, {"story": "two"}]])
def test_json_lists_of_texts(tmp_path: Path, value: list[object]) -> None:
    made = texts.read(written(tmp_path, "x.json", json.dumps(value)))
    assert [(d.id, d.unit, d.text) for d in made.documents] == [("x:0", "x:0", "one"), ("x:2", "x:2", "two")]
    assert counted(made.left_out) == {"empty document": 1}


def test_cutting_loses_no_word_and_keeps_the_length() -> None:
    book = "\n".join(f"line {i} has five words\n" * (i % 3) for i in range(200))
    pieces = list(texts.cut(book, 50))
    assert " ".join(pieces).split() == book.split()
    assert all(len(piece.split()) >= 50 for piece in pieces[:-1])
    assert max(len(piece.split()) for piece in pieces) < 60
    assert list(texts.cut(book, None)) == [book]


def test_pieces_share_a_unit_unless_there_is_only_one_text(tmp_path: Path) -> None:
    long = "a b c d\n" * 20
    two = texts.read(written(tmp_path, "two.json", json.dumps([long, long])), words=20)
    assert (two.units(), len(two.documents)) == (2, 8)
    assert two.documents[0].labels == {"source": "two", "one_text": False}
    one = texts.read(written(tmp_path, "one.txt", long), words=20)
    assert (one.units(), len(one.documents)) == (4, 4)
    assert one.documents[0].labels["one_text"] is True


def test_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no text"):
        texts.read(written(tmp_path, "x.txt", " \n"))
    with pytest.raises(DataError, match="not a list of texts"):
        texts.read(written(tmp_path, "x.json", '["a", 1]'))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found: 0 files"):
        texts.read(tmp_path / "empty")


def test_wikitext_has_the_sixty_articles_that_its_authors_count(shared: Path) -> None:
    """Reference: Merity et al. 2017, table 1: WikiText-2 has 60 articles in each of its validation and test parts."""
    folder = shared / "corpora" / "wikitext-2"
    assert [len(texts.read(folder / f"{part}.txt").documents) for part in ("valid", "test")] == [60, 60]
