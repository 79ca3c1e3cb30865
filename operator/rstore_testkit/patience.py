"""How long tests and the demo wait for what comes in the end."""

from __future__ import annotations

WAIT_SECONDS = 240.0
"""Bounds a wait. It is several times the usual, since the machine may be busy; it ends once its condition holds."""
