"""What `inspect` says of a file."""
