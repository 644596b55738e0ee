"""Blends predictions into their surroundings, and pastes them so that pixels outside of holes stay bit-identical."""
