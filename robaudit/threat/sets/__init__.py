"""Perturbation sets: what an attacker may change, beside the ball and the box. One file a set; nothing needs torch."""
