"""One file a recipe: how the audit makes a model in place of the target, of the target's answers."""
