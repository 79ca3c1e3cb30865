"""What a process that writes an archive and one that restores it have in common."""
