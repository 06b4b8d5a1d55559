"""Is the audit itself sound? One file a check: what it measures, and a pure verdict over the measurement."""
