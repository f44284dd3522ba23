"""Recovers missed deliveries from the registry's delivery log."""
