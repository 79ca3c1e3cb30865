"""The target's side of the streams between regions."""
