"""Tables of the recall study from the movers on: the MLP, function application, the last layer, mitigation."""

from mnemoscope.results.schema.table import Table

TABLES: dict[str, Table] = {}
