"""Logged data of others: files and data sets, and the environment that they describe."""
