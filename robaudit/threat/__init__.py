"""The field's vocabulary: norms and projections, goals, losses, threat models, keyed randomness."""
