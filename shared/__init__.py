"""The road of a delivery: parsed, validated, normalised, routed, enqueued."""
