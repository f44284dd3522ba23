"""The road of a delivery: parsed, validated, normalised, routed, enqueued."""

__version__ = "0.9.0"
