"""Attacks by queries that surrogates show the way."""
