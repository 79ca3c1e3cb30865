"""What goes wrong between this process and an API server."""

from __future__ import annotations


class ConfigurationError(Exception):
    """No API server can be used: there is no kubeconfig, it is not readable, or it lacks what was named."""


class ApiError(Exception):
    """The API server refused; ``status`` is the HTTP status, the text is its message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)

    @property
    def conflict(self) -> bool:
        """Whether somebody else was faster."""
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
