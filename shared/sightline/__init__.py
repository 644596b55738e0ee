"""Sightline: vision models served as a REST fleet for people who investigate with pictures."""

__version__ = "0.1.0"
