"""Ratios measured in one run, against TransformerLens in an environment of its own, and against our own floor."""
