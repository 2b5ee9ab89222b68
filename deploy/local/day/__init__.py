"""The alliance's day: planned as pure data, played through the public doors, checked and reported."""
