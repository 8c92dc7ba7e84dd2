"""Lines of a pair document: training pairs, one digit per class, and stated shares in which one side alone decides."""

import subprocess
import sys

import numpy as np
import pytest

from mnemoscope.data import episodes, words
from mnemoscope.reference import pair_documents

CATEGORY = {word: name for name, members in words.CATEGORIES.items() for word in members}
DOCUMENTS = 3000


@pytest.fixture(scope="module")
def documents():
    """(lines with their classes, number of classes in the family) of many documents."""
    rng = np.random.default_rng(8)
    made = [pair_documents.lines(30, rng)[0] for _ in range(DOCUMENTS)]
    return [[(pair, (CATEGORY[pair[0]], CATEGORY[pair[1]]), digit) for pair, digit in doc] for doc in made]


def _large(doc) -> bool:
    """Whether a document belongs to the four- or nine-class family."""
    return not {c for _, pair, _ in doc for c in pair} & {"furniture", "profession"} and not _binary(doc)


def _binary(doc) -> bool:
    return {pair for _, pair, _ in doc} <= {("fruit", "month"), ("month", "fruit")}


def test_lines_are_training_pairs_and_a_digit_names_a_class(documents) -> None:
    for doc in documents:
        assert not any(episodes.held_out(*pair) for pair, _, _ in doc)
        classes, digits = {c for _, c, _ in doc}, {d for _, _, d in doc}
        assert len(classes) == len(digits) == len({(c, d) for _, c, d in doc})


@pytest.mark.parametrize(("side", "share"), [(1, pair_documents.SAME_RIGHT), (0, pair_documents.SAME_LEFT)])
def test_in_the_stated_share_of_documents_one_side_says_nothing(documents, side, share) -> None:
    large = [doc for doc in documents if _large(doc)]
    alone = np.mean([len({c[side] for _, c, _ in doc}) == 1 for doc in large])
    expected = (1 - pair_documents.BALANCED) * share
    assert abs(alone - expected) < 4 * (expected * (1 - expected) / len(large)) ** 0.5


def test_labels_weigh_more_where_only_the_left_word_decides() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        doc, weight = pair_documents.lines(30, rng)
        rights = {CATEGORY[right] for (_, right), _ in doc}
        assert weight == (pair_documents.URGENT if len(rights) == 1 else 1.0)


def test_only_the_balanced_documents_tell_which_class_is_missing(documents) -> None:
    """Of the binary documents, all balanced ones begin with both classes, of the others every second one does."""
    pairs = [doc for doc in documents if _binary(doc) or not _large(doc)]
    both = np.mean([doc[0][1] != doc[1][1] for doc in pairs])
    expected = pair_documents.BALANCED + (1 - pair_documents.BALANCED) / 2
    assert abs(both - expected) < 4 * (expected * (1 - expected) / len(pairs)) ** 0.5


def test_documents_do_not_depend_on_the_hashes_of_strings() -> None:
    said = {
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import numpy as np; from mnemoscope.reference import pair_documents as p; "
                "r = np.random.default_rng(5); print([p.lines(9, r) for _ in range(5)])",
            ],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
