"""What the planner knows, wants and says, apart from a change of primary."""
