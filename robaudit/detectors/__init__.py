"""Detectors beside a model, one file each: what they find suspicious is rejected, and has no answer."""
