"""One run: directory, lock, supervisor, worker."""
