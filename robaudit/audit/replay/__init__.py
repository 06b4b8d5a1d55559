"""The evidence asked again, of the file alone."""
