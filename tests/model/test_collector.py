"""While libraries are imported nothing is searched for garbage, and afterwards the collector is what it was."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from mnemoscope.model import collector_waits


class Knot:
    """Garbage that only a search finds: it holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector() -> Iterator[None]:
    """A collector that runs and has nothing frozen; afterwards as the other tests have it (conftest)."""
    gc.unfreeze()
    gc.enable()
    yield
    gc.enable()
    gc.freeze()


def searches() -> tuple[int, ...]:
    return tuple(generation["collections"] for generation in gc.get_stats())


@pytest.mark.usefixtures("collector")
def test_nothing_is_searched_inside_and_all_of_it_can_be_collected_afterwards() -> None:
    before = searches()
    with collector_waits():
        kept = [Knot() for _ in range(200_000)]  # far beyond every threshold
        lost = weakref.ref(Knot())
        assert searches() == before
        assert lost() is not None
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert len(gc.get_objects(generation=2)) > len(kept)  # they are old now
    gc.collect()
    assert lost() is None


@pytest.mark.usefixtures("collector")
def test_it_is_switched_on_again_when_an_import_fails() -> None:
    with pytest.raises(ImportError), collector_waits():
        raise ImportError
    assert gc.isenabled()


@pytest.mark.usefixtures("collector")
def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    with collector_waits():
        pass
    assert not gc.isenabled()


@pytest.mark.usefixtures("collector")
def test_what_the_user_froze_stays_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    with collector_waits():
        pass
    assert gc.get_freeze_count() >= frozen > 0
    assert gc.isenabled()
