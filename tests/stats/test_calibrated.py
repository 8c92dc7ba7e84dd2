"""B2.5 on the judges that every table rests on; the scenarios are those of benchmarks/calibration.py, which has more."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "calibration.py"
    spec = importlib.util.spec_from_file_location("calibration_bench", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", ["max_t_family_two_sided", "rsa_lines", "rsa_before_after"])
def test_true_nulls_are_rejected_at_the_nominal_rate(bench, name):
    result = bench.judge(name, 1000)
    assert result.ok, result.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clustered_bootstrap", "two_way_t"])
def test_intervals_cover_as_often_as_they_say(bench, name):
    result = bench.judge(name, 2000)
    assert result.ok, result.reason
