"""CoNLL-U: exact characters, line numbers of every fault, and counts against the conllu package on a real treebank."""

from collections import Counter
from pathlib import Path

import conllu as package
import pytest

from mnemoscope.data import conllu
from mnemoscope.data.leftout import counted
from mnemoscope.errors import DataError

PLANTED = """# newdoc id = d1
# sent_id = one
# text = I don't see dog-like cats.
1\tI\tI\tPRON\t_\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\t_\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\t_\t_\t4\tadvmod\t_\t_
4\tsee\tsee\tVERB\t_\t_\t0\troot\t_\t_
5\tdog\tdog\tNOUN\t_\t_\t7\tcompound\t_\tSpaceAfter=No
6\t-\t-\tPUNCT\t_\t_\t5\tpunct\t_\tSpaceAfter=No
7\tlike\tlike\tADJ\t_\t_\t8\tamod\t_\t_
8\tcats\tcat\tNOUN\t_\t_\t4\tobj\t_\tSpaceAfter=No
8.1\tghost\tghost\tVERB\t_\t_\t_\t_\t_\t_
9\t.\t.\tPUNCT\t_\t_\t4\tpunct\t_\t_

# sent_id = two
# text = Pain du jour
1\tPain\tpain\tNOUN\t_\t_\t0\troot\t_\t_
2-3\tdu\t_\t_\t_\t_\t_\t_\t_\t_
2\tde\tde\tADP\t_\t_\t4\tcase\t_\t_
3\tle\tle\tDET\t_\t_\t4\tdet\t_\t_
4\tjour\tjour\tNOUN\t_\t_\t1\tnmod\t_\t_

# sent_id = three
# text = Not what the words say
1\tDogs\tdog\tNOUN\t_\t_\t0\troot\t_\t_
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "planted.conllu"
    file.write_text(text, encoding="utf-8")
    return file


def test_characters_are_exact(tmp_path: Path) -> None:
    one, two, three = conllu.read(written(tmp_path, PLANTED))
    assert one.text == "I don't see dog-like cats."
    assert [one.text[slice(*n.span)] for n in one.nodes] == ["I", "do", "n't", "see", "dog", "-", "like", "cats", "."]
    assert all(node.own for node in one.nodes)
    assert two.text == "Pain du jour"
    assert [(two.text[slice(*n.span)], n.own) for n in two.nodes] == [
        ("Pain", True),
        ("du", False),
        ("du", False),
        ("jour", True),
    ]
    assert three.fault == "text line disagrees with the words"
    assert [s.document for s in (one, two, three)] == ["d1"] * 3


def test_a_corpus_of_the_planted_file(tmp_path: Path) -> None:
    made = conllu.corpus(written(tmp_path, PLANTED))
    document = made.documents[0]
    assert document.text == "I don't see dog-like cats. Pain du jour"
    assert document.unit == "d1"
    ends = [(document.surface(t.head), t.relation, document.surface(t.tail)) for t in document.triples]
    assert ends == [
        ("see", "subj", "I"),
        ("see", "mod", "n't"),
        ("cats", "mod", "like"),
        ("see", "obj", "cats"),
        ("Pain", "mod", "jour"),
    ]
    assert counted(made.left_out) == {"text line disagrees with the words": 1}


def test_every_malformed_line_is_named(tmp_path: Path) -> None:
    word = "{0}\tw\tw\tNOUN\t_\t_\t{1}\tdep\t_\t_"
    lines = [
        word.format(1, 0),
        "two\tcolumns",
        word.format(3, 1),
        word.format(4, "x"),
        "",
        word.format(1, 9),
        word.format(2, 2),
        word.format(3, "_"),
        "2-7" + word.format("", "_"),
        "q" + word.format("", "_"),
    ]
    with pytest.raises(DataError) as caught:
        conllu.read(written(tmp_path, "\n".join(lines)))
    for number in (2, 4, 6, 7, 8, 9, 10):
        assert f"line {number}:" in str(caught.value), number
    assert "line 1:" not in str(caught.value)
    assert "line 3:" not in str(caught.value)  # its number is right: a line was lost before it
    unnumbered = "\n".join([word.format(1, 0), word.format(3, 1)])
    with pytest.raises(DataError, match="line 2: word 3 after 1 words"):
        conllu.read(written(tmp_path, unnumbered))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no sentence"):
        conllu.read(written(tmp_path, "\n\n"))


@pytest.mark.parametrize(("part", "delete"), [("dev", False), ("test", True)])
def test_a_real_treebank_agrees_with_the_conllu_package(shared: Path, tmp_path: Path, part: str, delete: bool) -> None:
    """Independent reference: edges counted from the package's own trees, without our text or spans."""
    path = shared / "ud" / "ewt" / f"en_ewt-ud-{part}.conllu"
    head = path.read_text(encoding="utf-8").split("\n\n")[:100]
    short = {"nsubj": "subj", "csubj": "subj", "obj": "obj", "iobj": "obj"}
    short |= dict.fromkeys(("amod", "advmod", "nmod", "nummod"), "mod")
    gone = {"DET", "ADP", "AUX", "CCONJ", "PART", "PUNCT"} if delete else set()
    expected: Counter[str] = Counter()
    lost = 0
    edges: Counter[tuple[str, str, str]] = Counter()
    for tree in package.parse("\n\n".join(head) + "\n\n"):
        word = {token["id"]: token for token in tree if isinstance(token["id"], int)}
        for token in word.values():
            relation = short.get(token["deprel"].split(":")[0])
            if relation and {token["upos"], word[token["head"]]["upos"]} & gone:
                lost += 1
            elif relation:
                expected[relation] += 1
                edges[word[token["head"]]["form"], token["deprel"], token["form"]] += 1
    made = conllu.corpus(written(tmp_path, "\n\n".join(head)), delete_function_words=delete)
    assert made.triples() == dict(expected)
    assert len(made.left_out) == lost
    assert edges == Counter(
        (d.surface(t.head), t.subtype, d.surface(t.tail)) for d in made.documents for t in d.triples
    )
