"""Comparisons of runs, figures and pages; no jax."""
