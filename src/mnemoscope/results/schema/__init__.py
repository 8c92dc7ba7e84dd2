"""The tables we keep: `table.py` says what a table is, `shared.py` the common ones, then one file per study."""
