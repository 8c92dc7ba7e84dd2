"""Function words: by part of speech where known, by the list where not."""

import pytest

from mnemoscope.data.function_words import deletable


@pytest.mark.parametrize(
    ("word", "upos", "deleted"),
    [
        ("the", "", True),
        ("The", "", True),
        (".", "", True),
        ("-", "", True),
        ("model", "", False),
        ("that", "PRON", False),
        ("that", "DET", True),
        ("n't", "PART", True),
        ("$", "SYM", False),
        ("the", "X", True),
        ("42", "", False),
    ],
)
def test_deletable(word: str, upos: str, deleted: bool) -> None:
    assert deletable(word, upos) is deleted
