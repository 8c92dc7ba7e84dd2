"""Whom we ask: one view on any Hugging Face decoder."""
