"""One file a command; parses and renders, decides nothing."""
