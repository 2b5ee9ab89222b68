"""What the accounts service does, in terms of its domain."""
