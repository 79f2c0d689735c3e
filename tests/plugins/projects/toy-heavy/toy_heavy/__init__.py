"""Heavy, but not until its model is built."""
