"""Brings deliveries back, from the delivery log and the fallback log, and proves it."""
