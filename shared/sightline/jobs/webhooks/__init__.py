"""Webhooks: delivery queue in Redis, dispatcher, and an HTTP client that refuses private networks."""
