"""The kinds of commands that the log holds, and what each does."""
