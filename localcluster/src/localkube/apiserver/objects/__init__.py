"""Objects and what happens to them: defaults, life cycle, subresources, selectors."""
