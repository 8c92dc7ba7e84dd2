"""Tables of the causal part of the icl study: links, transplants, ablations, sharpening."""

from mnemoscope.results.schema.table import Table

TABLES: dict[str, Table] = {}
