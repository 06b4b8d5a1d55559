"""How a file is read: settled from what it declares, what the user says, and what it answers."""
