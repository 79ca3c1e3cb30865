"""Links between places that a person can slow down, make lossy or cut: for tests of what depends on a network.

A *place* is a region of the cluster, the pods with a label that is named at the start, or ``api``. A *link* leads one
way, from one place to another; what a connection carries there obeys the one, what it carries back the other, whoever
dialled.
"""
