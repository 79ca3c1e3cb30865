"""``python -m rstore_cli`` is ``rstore``."""

from rstore_cli.main import main

if __name__ == "__main__":
    main()
