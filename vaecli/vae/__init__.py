"""The mathematics of the experiment: pure JAX, no disk, no printing."""
