"""Parsers of file structures, for headers and metadata, in pure Python."""
