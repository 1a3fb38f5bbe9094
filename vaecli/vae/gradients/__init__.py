"""The estimators of the noise in a gradient."""
