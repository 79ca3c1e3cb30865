"""The primary's lease: who holds it, who grants it, and what is told along with it."""
