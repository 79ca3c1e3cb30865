"""What is known at one moment: observations, what the regions themselves report, and the actions that may follow."""
