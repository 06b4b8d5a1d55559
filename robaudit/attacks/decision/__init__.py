"""Attacks that see the predicted class and nothing else."""
