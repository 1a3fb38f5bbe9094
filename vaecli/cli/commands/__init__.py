"""The commands of `vae`, one module each: its flags and its `run`. Nothing heavy is imported at the top."""
