"""``rstore backup``: looks at archives of stores, and checks them."""
