"""What is measured of a file: its twin's parity and gradient, and whether it answers the same again."""
