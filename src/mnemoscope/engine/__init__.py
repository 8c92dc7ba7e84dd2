"""What happened: record, decompose, read out, sweep, intervene, check."""
