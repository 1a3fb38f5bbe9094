"""Tables, figures and pages, from plain numbers; no jax."""
