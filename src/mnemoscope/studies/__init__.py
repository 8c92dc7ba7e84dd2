"""The questions: one room per study, each config, prompts, measure, summarise. `__init__` files of studies stay empty."""
