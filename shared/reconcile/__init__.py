"""Missed deliveries: recovered from the registry's delivery log."""
