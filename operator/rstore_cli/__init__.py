"""The command line `rstore`, also `kubectl rstore`."""
