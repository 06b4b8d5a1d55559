"""Lower bounds on robustness: what is proved of each sample, one file a method."""
