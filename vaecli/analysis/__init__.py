"""The analysis of a finished run, opened again: its evaluation, and its posterior seen through every head."""
