"""What is asked: flags, YAML, profiles, goals, metrics, gates."""
