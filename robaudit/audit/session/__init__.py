"""The work of an audit in the worker: load, answer, attack, check, keep the evidence."""
