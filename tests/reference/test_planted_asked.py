"""What cannot be planted is refused before anything is built, on one line that says what is allowed."""

import subprocess
import sys

import numpy as np
import pytest

from mnemoscope.errors import InputError, OptionError
from mnemoscope.reference import planted
from mnemoscope.reference.planting import truth as truths

CALLS = (
    ("3", "OptionError"),
    ("None", "OptionError"),
    ("'induction', family=None", "OptionError"),
    ("'induction', seed='a'", "InputError"),
    ("'induction', seed=1.5", "InputError"),
    ("'induction', seed=None", "InputError"),  # would be another model every time
    ("'induction', noise='x'", "InputError"),
    ("'induction', n_heads='8'", "InputError"),
    ("'induction', d_head=64.0", "InputError"),
    ("'induction', kv_group=1.5", "InputError"),
    ("'induction', n_ctx=300.5", "InputError"),
    ("'induction', folder=3", "InputError"),
    ("'induction', folder=__file__", "InputError"),
)
SCRIPT = """
from mnemoscope.errors import MnemoscopeError
from mnemoscope.reference import planted

def say(build):
    try:
        build()
    except MnemoscopeError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("kind", "options", "error", "says"),
    [
        ("inductoin", {}, OptionError, "did you mean 'induction'"),
        ("induction", {"family": "lama"}, OptionError, "did you mean 'llama'"),
        ("semantic", {"pair": 3}, OptionError, "did you mean 'pairs'"),
        ("semantic", {"noise": -1.0}, InputError, "finite number >= 0"),
        ("semantic", {"noise": float("nan")}, InputError, "noise: a finite number"),
        ("semantic", {"seed": -1}, InputError, "a whole number >= 0"),
        ("semantic", {"d_head": 8}, InputError, "allowed: d_head >= "),
        ("semantic", {"n_heads": 2}, InputError, "which the fullest layer holds"),
        ("semantic", {"pairs": 3, "triples": 4}, InputError, "found: pairs 3 | allowed: pairs >= 4"),
        (
            "semantic",
            {"relations": 0, "documents": 0},
            InputError,
            "found: relations 0; documents 0 | allowed: relations >= 1",
        ),
        ("semantic", {"family": "gpt2", "kv_group": 2}, InputError, "llama"),
        ("semantic", {"kv_group": 0}, InputError, "any number >= 1"),
        ("semantic", {"n_ctx": 20}, InputError, "longest text has"),
        ("semantic", {"n_ctx": 700}, InputError, "n_ctx <= 600"),
        ("semantic", {"n_heads": 0}, InputError, "which the fullest layer holds"),
        ("semantic", {"relations": 12, "documents": 1, "n_ctx": 600}, InputError, "a width of at most 4096"),
        ("induction", {"d_head": 2000}, InputError, "a width of at most 4096"),
        ("induction", {"d_head": 129}, InputError, "an even d_head"),
        ("induction", {"vocabulary": 5}, InputError, "vocabulary >= 25"),
        ("induction", {"period": 7.5, "repeats": None}, InputError, "period: a whole number; repeats: a whole number"),
        ("induction", {"distractors": True}, InputError, "found: distractors True"),
        ("recall", {"movers": 4}, InputError, "movers <= 3"),
        ("recall", {"amount": float("nan")}, InputError, "amount: a finite number"),
        ("recall", {"amount": 9.0}, InputError, "amount <= 8"),
        ("recall", {"suppressor": None}, InputError, "suppressor: a name"),
        ("recall", {"alike": 1}, InputError, "True or False"),
        ("attribute", {"relations": 4}, InputError, "relations <= 3"),
        ("attribute", {"movers": 1}, InputError, "one head per relation"),
        ("recall", {"suppressor": "norm"}, OptionError, "mlp, head"),
        ("geometry", {"heads": 3, "kv_group": 2}, InputError, "a multiple of 2"),
        ("geometry", {"strength": (0.9, 1.0)}, InputError, "without example <"),
        ("geometry", {"strength": (0.4,)}, InputError, "strength: two finite numbers"),
        ("geometry", {"log_ratio": (float("nan"), 1.0)}, InputError, "log_ratio: two finite numbers"),
        ("geometry", {"log_ratio": (0.0, 9.0)}, InputError, "-8.0 to 8.0"),
        ("geometry", {"spread": float("inf")}, InputError, "spread: a finite number"),
        ("geometry", {"distractors": 9}, InputError, "leave n_heads out, or ask for fewer distractors"),
        ("geometry", {"n_heads": 3}, InputError, "at least 4"),
        ("geometry", {"hypothesis": "name"}, OptionError, "did you mean 'names'"),
    ],
)
def test_what_cannot_be_built_is_refused(kind, options, error, says):
    with pytest.raises(error) as caught:
        planted(kind, **options)
    assert says in str(caught.value)


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """What a caller without our type checks is told, one line per call."""
    script = tmp_path_factory.mktemp("asked") / "asked.py"
    script.write_text("\n".join([SCRIPT, *(f"say(lambda: planted({call}))" for call, _ in CALLS)]) + "\n")
    out = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    return out.splitlines()


@pytest.mark.slow
def test_arguments_of_another_kind_are_told_on_one_line(refused):
    for (call, error), said in zip(CALLS, refused, strict=True):
        assert said.startswith(f"{error} "), call
        assert "allowed: " in said, call


def test_a_size_may_come_from_numpy(tmp_path):
    made = planted("recall", folder=tmp_path, topics=np.int64(4), amount=np.float32(2.5))
    assert truths.read(tmp_path).options["amount"] == 2.5
    assert made.truth.options["topics"] == 4
