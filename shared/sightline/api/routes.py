"""Addresses that go over the wire."""


def route_of(model: str) -> str:
    """Where a model's requests go, by the name of its folder."""
    return f"/v1/{model.replace('_', '-')}"
