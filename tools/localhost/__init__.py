"""The local host: serves a function app on this machine."""
