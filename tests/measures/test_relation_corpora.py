"""Relational corpora as a model's tokenizer reads them: redraws, split letters, files without triples."""

import pytest


def lm_of(words):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return view(tiny("gpt2"), PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>"))


@pytest.fixture(scope="module")
def splitting():
    """A tokenizer that knows the letters and no other word."""
    return lm_of(list("BCDFGHJKLMOPQRTUVXYZ"))


def test_redraws_share_their_document_and_change_their_letters(splitting):
    from mnemoscope.measures.relation_corpora import built_in

    found = built_in(splitting, "letters", documents=2, redraws=3)
    assert len(found.documents) == 6
    assert len(found.units) == 2
    one, other = found.documents[:2]
    assert one.unit == other.unit
    letters = [[one.surface(i) for i in range(len(one.mentions))] for one in found.documents[:3]]
    assert len({tuple(row) for row in letters}) == 3
    assert [t.relation for t in one.triples] == [t.relation for t in other.triples]


def test_a_tokenizer_that_splits_letters_cannot_be_tested_and_says_so():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from mnemoscope.measures.relation_corpora import built_in, whole_letters
    from mnemoscope.model.lm import view
    from mnemoscope.model.tiny import tiny

    inner = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("the ", "isolated")
    lm = view(tiny("gpt2"), PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>"))
    assert whole_letters(lm) == ()
    found = built_in(lm, "letters", documents=2)
    assert found.documents == ()
    assert "0 of 20 letters" in found.reason
    assert len(found.left_out) == 20


def test_files_without_triples_are_refused(tmp_path, splitting):
    from mnemoscope.errors import DataError
    from mnemoscope.measures.relation_corpora import of_file

    path = tmp_path / "plain.jsonl"
    path.write_text('{"text": "The ink of a pen dries."}\n')
    with pytest.raises(DataError, match="no usable triple"):
        of_file(splitting, path)


def test_bad_files_name_the_line(tmp_path, splitting):
    from mnemoscope.errors import DataError
    from mnemoscope.measures.relation_corpora import of_file

    bad = {
        "x.conllu": ("1\tA\ta\tDET\t_\t_\t2\tdet\t_\t_\n2\tdog\n\n", "line 2"),
        "x.tsv": ("title\ta ; b\t<method> <task>\t0 0 1\ttext <method_0>\n", "line 1"),
        "x.jsonl": (
            '{"text": "A pen.", "triples": [["pen", "part-of", "ink"]]}\n',
            "1 left out: entity does not occur, first x:1 part-of",
        ),
        "y.jsonl": ('{"text": "A pen and ink.", "triples": [["pen", "", "ink"]]}\n', "line 1"),
    }
    for name, (text, expected) in bad.items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(DataError, match=expected):
            of_file(splitting, path)


def test_triples_whose_entity_does_not_occur_are_listed(tmp_path, splitting):
    from mnemoscope.measures.relation_corpora import of_file

    path = tmp_path / "a.tsv"
    first = "t\ta ; b ; c\t<method> <task> <task>\t0 0 1 ; 0 0 2\twe use <method_0> for <task_1> .\t0"
    path.write_text(first + "\n")
    found = of_file(splitting, path, redraws=2)
    assert [one.reason for one in found.left_out] == ["entity does not occur"]
    assert len(found.documents) == 2
