"""``rstore dev``: the local cluster of plain processes."""
