"""The figures, drawn by Matplotlib without a display."""
