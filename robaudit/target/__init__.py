"""The file under audit: loading, what its inputs and outputs mean, running it, differentiating it."""
