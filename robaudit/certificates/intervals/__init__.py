"""Interval arithmetic through the program of a file: values, operators, and the linear end."""
