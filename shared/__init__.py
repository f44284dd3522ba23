"""The receiver: parses, validates, normalizes, routes and enqueues deliveries."""

__version__ = "0.9.0"
