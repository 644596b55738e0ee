"""Catalogue of public weights: entries, and the folder that they are installed in."""
