"""The training of many runs: a grid is expanded, what is done is skipped, and a launcher trains the rest."""
