"""A change to a service on a machine, as values: the steps of which it is made, and the digest by which it is known."""

from model.change.step import Step

__all__ = ["Step"]
