"""The rules of one replica: elections, the log, what is committed, read points."""
