"""What the numbers of the output say: scores of the classes, and the decision."""
