"""Replicas, regions and topology as they can be run now, one safe step at a time."""
