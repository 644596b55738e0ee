"""Decoding of untrusted files, in the calling process or in child processes with limits."""
