"""What we keep: schemas, provenance, run folders. No torch."""
