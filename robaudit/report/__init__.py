"""Reports: every format is rendered from the one result model, again at any time, without compute."""
