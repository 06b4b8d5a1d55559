"""Attacks made on surrogates and thrown at the target."""
