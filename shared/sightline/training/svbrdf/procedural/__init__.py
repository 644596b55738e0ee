"""Procedurally generated materials."""
