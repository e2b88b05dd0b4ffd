"""Checks of an environment and its functions on real transitions."""
