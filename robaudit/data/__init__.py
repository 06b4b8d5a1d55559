"""Samples: image folders, arrays, the bundled images."""
