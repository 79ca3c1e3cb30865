"""Who may call: callers by their certificates, what the rules grant them, and what each request needs."""
