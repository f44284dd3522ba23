"""The tests. A package, so that it comes before the one of this name that the runtime installs."""
