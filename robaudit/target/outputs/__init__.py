"""Which output of a file carries the class scores, and how its values are read."""
