"""What we ask: prompts, facts, corpora and tasks, as text with *character* spans. No torch and no tokenizer here."""
