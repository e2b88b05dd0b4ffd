"""Pictures of the shipped systems."""
