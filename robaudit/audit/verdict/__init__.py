"""From a result to gates, comparison, verdict and exit code."""
