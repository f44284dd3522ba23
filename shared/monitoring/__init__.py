"""What shows whether the app could store a delivery now."""
