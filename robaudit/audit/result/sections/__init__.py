"""The sections of a result, documented models each."""
