"""Mazes and other environments with transition tables."""
