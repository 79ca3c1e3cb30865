"""`make demo`: from `helm install` to a switchover under load, and what end-to-end tests share with it."""
