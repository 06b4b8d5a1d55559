"""Classifiers behind HTTP, asked as if they were files."""
