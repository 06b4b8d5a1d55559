"""How purifiers are made of clean images: one file a recipe."""
