"""Whom we ask: one view on any Hugging Face decoder.

transformers is imported here, before the room's files do, because of what that costs: half a million objects that stay.
Python's collector would look through all of them for garbage again and again, a quarter of the time until the first model.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

_LIBRARIES = ("transformers.modeling_utils", "transformers.models.auto.modeling_auto", "transformers.generation")


@contextmanager
def collector_waits() -> Iterator[None]:
    """No search for garbage inside; afterwards, what was made inside counts as old, and nothing is kept from collection.

    A collector that the user has switched off, or whose objects are frozen, is left as it is.
    """
    if not gc.isenabled() or gc.get_freeze_count():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # all objects, without a look, ...
        gc.unfreeze()  # ... into the oldest generation
        gc.enable()


with collector_waits():
    for _library in _LIBRARIES:
        import_module(_library)
