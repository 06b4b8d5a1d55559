"""A typed, frozen record for each kind of event, by subject; :mod:`.kinds` lists them all."""
