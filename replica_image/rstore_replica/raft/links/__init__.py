"""How replicas of a region reach each other."""
