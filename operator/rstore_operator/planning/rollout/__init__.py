"""How a change of pod templates reaches the pods of a store: one pod at a time, one region after the other."""
