"""What happened in a run: a typed record for each kind of event."""
