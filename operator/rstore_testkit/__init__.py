"""What the demo and the tests share, not in the wheel: stores under load, the loss of regions, and a check of each
write."""
