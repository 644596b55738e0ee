"""Human-rights screening."""
