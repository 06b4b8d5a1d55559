"""From the journal to the result."""
