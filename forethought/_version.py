"""The version; packaging reads it here too."""

__version__ = "0.2.0"
