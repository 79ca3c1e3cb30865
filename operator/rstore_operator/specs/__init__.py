"""Desired Kubernetes objects, built by pure functions."""
