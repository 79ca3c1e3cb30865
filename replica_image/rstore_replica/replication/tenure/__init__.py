"""The primary's tenure: who holds it, who grants it, and what is told along with it."""
