"""Exact statistics: rates, pairs, sequential looks."""
