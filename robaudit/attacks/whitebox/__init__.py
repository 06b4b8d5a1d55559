"""Attacks with the input gradient of the target."""
