"""Gives up a host that has vanished, and takes it back when it is there again."""
