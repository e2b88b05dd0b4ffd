"""MinAtar and Atari games."""
