"""The command line of Sightline."""
