"""`sightline weights`: lists, installs and verifies public weights, and puts them into service."""
