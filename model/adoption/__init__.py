"""From what machines tell to the file that describes them, with a question for everything that they do not tell."""

from model.adoption.file import file_text
from model.adoption.remarks import Remark
from model.adoption.tree import Adoption, adopt

__all__ = ["Adoption", "Remark", "adopt", "file_text"]
