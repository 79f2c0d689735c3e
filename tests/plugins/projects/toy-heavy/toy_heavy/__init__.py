"""Plugin whose builder module imports large packages."""
