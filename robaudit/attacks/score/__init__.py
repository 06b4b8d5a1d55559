"""Attacks that see the class scores and nothing else."""
