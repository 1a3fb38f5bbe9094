"""A finished run opened again: evaluated, and seen through every head."""
