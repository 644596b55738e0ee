"""Exposure correction."""
