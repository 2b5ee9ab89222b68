"""What a release is, and what it may not break: the contracts of the last one are kept in `last`."""
