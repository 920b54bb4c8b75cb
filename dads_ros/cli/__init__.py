"""The dads-ros command."""
