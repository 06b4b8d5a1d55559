"""Defenses around a target: one file a defense."""
