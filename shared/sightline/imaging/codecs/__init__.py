"""Decoders of pixels, one module for each library and format."""
