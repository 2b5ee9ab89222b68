"""The rules of the accounts service. Pure: no clock, no database."""
