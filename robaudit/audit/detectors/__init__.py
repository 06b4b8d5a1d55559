"""How good detectors are: against attackers who do not know of them, and against those who do."""
