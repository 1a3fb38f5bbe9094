"""A run on disk: its directory, its metric writers, its checkpoint."""
