"""What goes wrong between this process and an API server."""

from __future__ import annotations


class ConfigurationError(Exception):
    """No API server can be used: there is no kubeconfig, it is not readable, or it lacks what was named."""


class ApiError(Exception):
    """The API server refused a request; ``status`` is the HTTP status, the text is the server's message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)

    @property
    def conflict(self) -> bool:
        """Whether the object has been changed meanwhile, or exists already."""
        return self.status == 409

    @property
    def invalid(self) -> bool:
        """Whether what was sent does not fit the schema."""
        return self.status == 422

    @property
    def forbidden(self) -> bool:
        """Whether these credentials do not allow it."""
        return self.status == 403

    @property
    def not_found(self) -> bool:
        """Whether there is no such object, or no such kind."""
        return self.status == 404

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (408, 429) or self.status >= 500
