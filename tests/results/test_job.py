"""Jobs, seeds and identities are functions of their values, in every process."""

import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mnemoscope.errors import InputError, OptionError
from mnemoscope.results.job import Job, canonical, distinct, seed_of
from mnemoscope.results.provenance import Provenance, differences, file_hashes, own_version, versions

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_seed_is_the_published_hash() -> None:
    import hashlib

    digest = hashlib.sha256(b"7\nlayer-3").hexdigest()
    assert seed_of(7, "layer-3") == int(digest[:16], 16) // 2
    code = "from mnemoscope.results.job import seed_of; print(seed_of(7, 'layer-3'))"
    assert int(subprocess.check_output([sys.executable, "-c", code])) == seed_of(7, "layer-3")


@given(st.integers(0, 5), st.text(max_size=5), st.integers(0, 5), st.text(max_size=5))
def test_seeds_differ_where_jobs_differ(a: int, b: str, c: int, d: str) -> None:
    assert (seed_of(a, b) == seed_of(c, d)) == ((a, b) == (c, d))


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_canonical_does_not_depend_on_order(value: dict[str, object]) -> None:
    assert canonical(dict(reversed(list(value.items())))) == canonical(value)
    assert differences(value, value) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 121])
def test_ids_that_are_no_file_names(name: str) -> None:
    with pytest.raises(OptionError, match="must be a file name"):
        Job(id=name)


def test_arguments_are_json_and_ids_differ() -> None:
    with pytest.raises(InputError, match="job 'a' are not JSON"):
        Job(id="a", args={"x": float("nan")})
    with pytest.raises(OptionError, match=r"must differ.*A"):
        distinct([Job(id="a"), Job(id="A")])


def test_identity_names_what_differs() -> None:
    a = Provenance(study="toy", asked={}, identity={"config": {"seed": 0, "terms": (1, 2)}})
    b = Provenance(study="toy", asked={"out": "x"}, identity={"config": {"terms": [1, 2], "seed": 0}})
    assert a.hash8 == b.hash8
    assert len(a.hash8) == 8
    assert differences(a.identity, {"config": {"seed": 1, "terms": [1, 2]}}) == ("config.seed is 0 there, 1 is asked",)


def test_files_are_known_by_content(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "w.bin").write_bytes(b"abc")
    assert file_hashes([tmp_path / "m"]) == {"m/w.bin": hashlib.sha256(b"abc").hexdigest()}


def test_versions_are_those_installed() -> None:
    import polars as pl

    assert versions(["polars", "no-such-thing"]) == {"polars": pl.__version__, "no-such-thing": "not installed"}
    assert own_version() == own_version()
    assert "(sources " in own_version()


def test_the_room_loads_no_torch() -> None:
    code = (
        "import sys, mnemoscope.results.store, mnemoscope.results.schema.heads, mnemoscope.runner\n"
        "print([m for m in ('torch', 'transformers', 'altair') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
