"""What counts: one published quantity per file, its docstring is its definition."""
