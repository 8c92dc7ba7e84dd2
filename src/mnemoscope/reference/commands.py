"""The doors of `python -m mnemoscope.reference...`: what is wrong is told on one line of stderr, with an exit code."""

import sys
from collections.abc import Callable

from mnemoscope.errors import MnemoscopeError


def told(command: Callable[[], None]) -> None:
    """Run a command; exit codes as for `mnemoscope`: 2 for bad input, 130 interrupted."""
    try:
        command()
    except MnemoscopeError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        raise SystemExit(130) from None
