"""Estimators of the noise in a gradient."""
