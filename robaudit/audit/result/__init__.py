"""The result: its versioned document, its figures, archive and pictures."""
