"""Runs attacks: slots, micro-batches, accounts and budgets, culling, judging."""
