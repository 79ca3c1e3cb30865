"""``python -m rstore_operator``: the operator, without what takes memory and is not used."""

from __future__ import annotations

from rstore_kube.library import hidden


def main() -> None:
    """Entry point."""
    with hidden("kubernetes.client"):
        from rstore_operator import process  # kopf is imported with it
    process.main()


if __name__ == "__main__":
    main()
