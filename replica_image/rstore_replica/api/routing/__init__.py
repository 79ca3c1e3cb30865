"""Where a request is served: here, by another replica, or nowhere at the moment."""
