"""A call of the model: where it runs, and what limits it."""
