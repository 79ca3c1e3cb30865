"""Who belongs to the group, how it comes into being and how it changes."""
