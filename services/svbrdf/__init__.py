"""Materials from flash photos."""
