"""The training of one run, or of one batch of seeds, and what it leaves on disk."""
