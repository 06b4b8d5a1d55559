"""Stored results: read, checked against themselves, signed."""
