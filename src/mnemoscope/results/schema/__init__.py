"""Columns, units and keys of every table, one file per study."""
