"""The alarms of a store's members, as each member says them itself."""
