"""The maps from the encoder's output u to log σ."""
