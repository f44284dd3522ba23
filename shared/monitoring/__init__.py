"""Health and queue depth: whether the app could store a delivery now."""
