"""What a request, an edit of the spec or a fault comes to: ordered tables of rules."""
