"""Descriptions of colour spaces, and conversion between them and sRGB."""
