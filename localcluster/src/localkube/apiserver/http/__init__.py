"""Requests and answers: listening, TLS, who asks and what they may, verbs."""
