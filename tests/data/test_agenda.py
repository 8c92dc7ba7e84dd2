"""AGENDA: a planted file whose every exclusion is known, and the real validation split recounted without our reader."""

import re
from collections import Counter
from pathlib import Path

import pytest

from mnemoscope.data import agenda
from mnemoscope.data.leftout import counted
from mnemoscope.errors import DataError

TITLE, ORDER = "A title .", "0 1 -1"
ABSTRACT = "we use <method_0> for the <task_1> . <method_2> beats <method_2> , -lrb- see <task_3> -rrb- ."
ENTITIES = "deep nets ; parsing ; svm ; quality of service ; unseen"
TYPES = "<method> <task> <method> <task> <method>"
TRIPLES = "0 0 1 ; 0 1 2 ; 0 2 4 ; 1 3 1 ; 0 0 1 ; 1 6 3"
LINE = "\t".join((TITLE, ENTITIES, TYPES, TRIPLES, ABSTRACT, ORDER))


@pytest.fixture
def planted(tmp_path: Path) -> tuple[agenda.Abstract, ...]:
    file = tmp_path / "planted.tsv"
    file.write_text(LINE + "\n", encoding="utf-8")
    return agenda.read(file)


def test_letters_replace_entities_and_nothing_else(planted: tuple[agenda.Abstract, ...]) -> None:
    made = agenda.lettered(planted, redraws=3, delete_function_words=False)
    for document in made.documents:
        a, b, c, _, d = (document.surface(i) for i in range(5))
        assert document.text == f"we use {a} for the {b} . {c} beats {c} , ( see {d} ) ."
        assert len({a, b, c, d}) == 4
        assert {a, b, c, d} <= set(agenda.LETTERS)
        ends = [(document.surface(t.head), t.relation, document.surface(t.tail)) for t in document.triples]
        assert ends == [(a, "USED-FOR", b), (b, "HYPONYM-OF", d)]
        assert {mention.type for mention in document.mentions} == {"letter"}
    assert counted(made.left_out) == {
        "entity occurs more than once": 1,
        "entity does not occur": 1,
        "self relation": 1,
        "repeated triple": 1,
    }
    assert made.units() == 1
    assert len({document.text for document in made.documents}) > 1


def test_letters_that_mean_something_are_never_used() -> None:
    assert len(agenda.LETTERS) == 20
    assert not set(agenda.LETTERS) & set("AINSWE")


def test_deletion_takes_function_words_and_punctuation(planted: tuple[agenda.Abstract, ...]) -> None:
    document = agenda.lettered(planted, order="mention").documents[0]
    assert document.text == "we use B C D beats D see F"  # alphabetical by first mention, A and E excluded


def test_letters_depend_on_seed_line_and_redraw_only(planted: tuple[agenda.Abstract, ...]) -> None:
    again = agenda.lettered(planted, redraws=3)
    assert agenda.lettered(planted, redraws=5).documents[:3] == again.documents
    assert agenda.lettered(planted, redraws=3, seed=1).documents != again.documents


def test_drawn_letters_are_uniform(planted: tuple[agenda.Abstract, ...]) -> None:
    """Planted: over many redraws every letter stands for the first entity equally often, whatever the order of mention."""
    times = 600
    first = Counter(d.surface(0) for d in agenda.lettered(planted, redraws=times).documents)
    expected = times / len(agenda.LETTERS)
    chi2 = sum((first[letter] - expected) ** 2 / expected for letter in agenda.LETTERS)
    assert chi2 < 43.8  # .999 quantile of chi-squared with 19 degrees of freedom


def test_a_tokenizer_may_choose_the_letters(planted: tuple[agenda.Abstract, ...]) -> None:
    mine = ("B", "C", "D", "F", "G")
    for document in agenda.lettered(planted, letters=mine).documents:
        assert {mention.entity for mention in document.mentions} <= set(mine)
    assert agenda.lettered(planted, letters=mine[:4]).left_out[0].detail == "5 entities, 4 letters"
    with pytest.raises(DataError, match="found: A; x"):
        agenda.lettered(planted, letters=("x", "B", "A"))


def test_natural_mode_writes_phrases_and_records_its_anchors(planted: tuple[agenda.Abstract, ...]) -> None:
    made = agenda.natural(planted)
    document = made.documents[0]
    assert document.text == "we use deep nets for the parsing . svm beats svm , ( see quality of service ) ."
    assert [document.surface(i) for i in (0, 1, 4)] == ["deep nets", "parsing", "quality of service"]
    assert (document.source_anchor, document.target_anchor) == ("last", "first")
    assert [mention.type for mention in document.mentions] == ["method", "task", "method", "method", "task"]


def test_a_phrase_that_also_stands_in_plain_text_is_left_out(tmp_path: Path) -> None:
    line = "\t".join(
        (TITLE, "nets ; parsing", "<method> <task>", "0 0 1", "parsing by <method_0> is <task_1> .", ORDER)
    )
    (tmp_path / "a.tsv").write_text(line, encoding="utf-8")
    made = agenda.natural(agenda.read(tmp_path / "a.tsv"))
    assert made.documents[0].triples == ()
    assert counted(made.left_out) == {"phrase stands elsewhere too": 1}


def test_too_many_entities_drop_the_abstract(tmp_path: Path) -> None:
    names = [f"e{i}" for i in range(21)]
    line = "\t".join((TITLE, " ; ".join(names), " ".join(["<task>"] * 21), "0 0 1", "<task_0> <task_1>", ORDER))
    (tmp_path / "a.tsv").write_text(line, encoding="utf-8")
    made = agenda.lettered(agenda.read(tmp_path / "a.tsv"))
    assert made.documents == ()
    assert made.left_out[0].reason == "more entities than letters"


def test_sentences_keep_triples_whose_ends_they_share(planted: tuple[agenda.Abstract, ...]) -> None:
    cut, left = agenda.sentences(planted)
    assert [abstract.triples for abstract in cut] == [((0, "USED-FOR", 1), (1, "PART-OF", 1), (0, "USED-FOR", 1))]
    assert counted(left) == {"ends do not share a sentence": 3}
    assert cut[0].unit == planted[0].id


def test_malformed_lines_are_all_named(tmp_path: Path) -> None:
    bad = [
        "only\ttwo",
        LINE.replace("<task_1>", "<task_9>"),
        LINE.replace("<task_1>", "<method_1>"),
        LINE.replace("0 1 2 ;", "0 9 2 ;"),
        LINE.replace("0 1 2 ;", "0 1 ;"),
        LINE.replace("<method> <task> <method>", "<method> <task>"),
    ]
    file = tmp_path / "bad.tsv"
    file.write_text("\n".join([LINE, *bad]), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        agenda.read(file)
    for number in range(2, 8):
        assert f"line {number}:" in str(caught.value)
    assert "line 1:" not in str(caught.value)


def test_the_validation_split_agrees_with_a_recount(shared: Path, tmp_path: Path) -> None:
    """Independent reference: the same numbers by regular expressions over the first 150 raw lines."""
    path = shared / "agenda" / "preprocessed.val.tsv"
    rows = path.read_text(encoding="utf-8").split("\n")[:150]
    kept: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    names = (path.parent / "relations.vocab").read_text(encoding="utf-8").split()
    for row in (line.split("\t") for line in rows):
        if row[1].count(" ; ") + 1 > 20:
            reasons["more entities than letters"] += 1
            continue
        times = Counter(re.findall(r"<[a-z]+_(\d+)>", row[4]))
        told: set[tuple[str, str, str]] = set()
        for head, relation, tail in re.findall(r"(\d+) (\d+) (\d+)", row[3]):
            if head == tail:
                reasons["self relation"] += 1
            elif not (times[head] and times[tail]):
                reasons["entity does not occur"] += 1
            elif times[head] + times[tail] > 2:
                reasons["entity occurs more than once"] += 1
            elif (head, relation, tail) in told:
                reasons["repeated triple"] += 1
            else:
                told.add((head, relation, tail))
                kept[names[int(relation)]] += 1
    (tmp_path / "few.tsv").write_text("\n".join(rows), encoding="utf-8")
    abstracts = agenda.read(tmp_path / "few.tsv")
    made = agenda.lettered(abstracts, redraws=1)
    assert tuple(names) == agenda.RELATIONS
    assert len(abstracts) == 150
    assert made.triples() == dict(kept)
    assert counted(made.left_out) == dict(reasons)
    for document in made.documents[:50]:
        assert all(document.surface(i) == mention.entity for i, mention in enumerate(document.mentions))


@pytest.mark.slow
def test_the_whole_validation_split_is_read(shared: Path) -> None:
    """Reference: 1,000 documents and 4,466 triples, counted by splitting the raw columns."""
    path = shared / "agenda" / "preprocessed.val.tsv"
    raw = [line.split("\t")[3].split(" ; ") for line in path.read_text(encoding="utf-8").strip().split("\n")]
    abstracts = agenda.read(path)
    assert [len(abstract.triples) for abstract in abstracts] == [len(triples) for triples in raw]
    assert (len(abstracts), sum(map(len, raw))) == (1000, 4466)
