"""InteractNet: detection of people, objects and what the people do with them."""
