"""The source's side of the streams between regions."""
