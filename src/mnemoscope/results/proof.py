"""Rows of the table `verification`: what a sweep proved about itself, in the same words in every study."""

from typing import Protocol, runtime_checkable

import polars as pl

from mnemoscope.results.schema.shared import VERIFICATION


@runtime_checkable
class Proof(Protocol):
    """What `mnemoscope.engine.verify.Verification` says; that room has torch in it, this one has not."""

    @property
    def path(self) -> str:
        """ "fast" or "slow"."""
        ...

    @property
    def reason(self) -> str:
        """Why not the fast one."""
        ...

    @property
    def rows(self) -> int:
        """Rows compared."""
        ...

    @property
    def largest(self) -> float:
        """Largest difference."""
        ...

    @property
    def floor(self) -> float:
        """Noise floor."""
        ...

    @property
    def tolerance(self) -> float:
        """Largest difference allowed."""
        ...


def proven(where: str, *proofs: Proof, what: str = "patched rows") -> pl.DataFrame:
    """One row per sweep: `what` was computed the fast or the slow way, how far from whole forward passes, against what.

    where   the job; a second and third sweep of it are `where (1)`, `where (2)`
    """
    rows = [
        {
            "where": where if i == 0 else f"{where} ({i})",
            "check": f"{what} computed the {proof.path} way equal whole forward passes",
            "error": float(proof.largest),
            "tolerance": float(proof.tolerance),
            "floor": float(proof.floor),
            "ok": bool(not proof.largest > proof.tolerance),
            "n": int(proof.rows),
            "detail": proof.reason,
        }
        for i, proof in enumerate(proofs)
    ]
    return pl.DataFrame(rows, schema=VERIFICATION.schema)
