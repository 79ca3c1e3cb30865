"""The replica as a process: its composition, listeners, HTTP port and life cycle."""
