"""The project's own program, as the plugin that wraps Terraform's provider can have it."""

import runpy
from pathlib import Path

from tests.clouds import wrapped

wrapped.register()
runpy.run_path(str(Path(__file__).with_name("program.py")))
