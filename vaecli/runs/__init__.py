"""A run on disk: its directory, its lock, its metric writers, its checkpoints, its transfer."""
