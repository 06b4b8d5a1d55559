"""Several audits of one model side by side: without something and with each of several."""
