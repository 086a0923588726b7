"""How like its prod a stage is: what was read on two machines, compared; a figure, and each difference named."""

from model.mirror.compare import AreaFigure, Difference, MachineFigure, Mirror, compare, compare_all
from model.mirror.excuse import Excuse, read_excuses
from model.mirror.reading import AREAS, Portrait, Reading, unreachable
from model.mirror.reasons import Known, built_in, of_a_boot
from model.mirror.record import in_lines, in_record

__all__ = [
    "AREAS",
    "AreaFigure",
    "Difference",
    "Excuse",
    "Known",
    "MachineFigure",
    "Mirror",
    "Portrait",
    "Reading",
    "built_in",
    "compare",
    "compare_all",
    "in_lines",
    "in_record",
    "of_a_boot",
    "read_excuses",
    "unreachable",
]
