"""Objects kept: versions, history for watches, events, the file on disk."""
