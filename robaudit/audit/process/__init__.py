"""Confined child processes; the standard library alone."""
