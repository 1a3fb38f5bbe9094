"""The command line of `vae`."""
