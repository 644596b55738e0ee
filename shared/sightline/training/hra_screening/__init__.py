"""Training of the human-rights screening model."""
