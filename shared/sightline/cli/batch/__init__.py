"""`sightline batch`: one model on every picture of a folder or an object store."""
