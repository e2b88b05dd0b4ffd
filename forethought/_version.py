"""The version; packaging reads it here too."""

__version__ = "0.3.0.dev0"
