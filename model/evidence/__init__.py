"""What was shown to work: checks, restores and drills, and the document that a report shows of a stack."""

from model.evidence.document import (
    Arrow,
    Document,
    DrawnMachine,
    document_from,
    document_values,
    drawn_arrows,
    drawn_machines,
)
from model.evidence.records import Check, Drill, Restore, drill_from_line, drill_line
from model.evidence.values import to_values

__all__ = [
    "Arrow",
    "Check",
    "Document",
    "DrawnMachine",
    "Drill",
    "Restore",
    "document_from",
    "document_values",
    "drawn_arrows",
    "drawn_machines",
    "drill_from_line",
    "drill_line",
    "to_values",
]
