"""Materials made by chance, as many as wanted."""
