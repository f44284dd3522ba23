"""Tools for developers and operators; never deployed."""
