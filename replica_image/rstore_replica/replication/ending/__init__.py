"""What a replica does when it is asked to stop, or when so many of its region are that no majority stays."""
