"""The Pulumi program: reads what the stack is to be, builds it, and shows what came of it."""

import asyncio
import os
from pathlib import Path

import pulumi

from components.environment import Environment
from components.files import sizes_before, state_place
from components.site import read_site
from model.configuration import KEYS
from model.errors import UnderstudyError

pulumi.log.debug = lambda *_, **__: None  # each is a question that the engine must answer: thousands, a second in all
directory = Path(__file__).resolve().parent
config = pulumi.Config()
try:
    given = {key: config.get(key) for key in KEYS}
    site = read_site(directory, pulumi.get_stack(), state_place(os.environ), given, sizes_before(os.environ))
except UnderstudyError as error:
    raise pulumi.RunError(str(error)) from None
outputs = Environment(site, directory).outputs


async def built() -> pulumi.Inputs:
    """Return the outputs when they are known: Pulumi's own waiting takes a second more for a hundred machines."""
    # What went wrong is told by that waiting, which follows.
    await asyncio.gather(pulumi.Output.all(**outputs).future(), return_exceptions=True)
    return outputs


pulumi.run(built)
