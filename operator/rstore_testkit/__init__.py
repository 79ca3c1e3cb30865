"""For the demo and the tests, not in the wheel: stores under load, the loss of regions, and the fate of each write."""
