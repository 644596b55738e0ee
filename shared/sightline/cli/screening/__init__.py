"""`sightline screen`: a folder of pictures through human-rights screening."""
