"""Inpainting."""
