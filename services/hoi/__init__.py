"""Human-object interaction."""
