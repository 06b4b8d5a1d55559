"""Model files: recognised, checked, opened and run."""
