"""A service as its folder in ``services/`` describes it: packages, files, units, checks, and its engine's settings."""

from __future__ import annotations

from dataclasses import dataclass

from model.service_acts import ByHand, Migration
from model.tool import Tool

CONFIRM_SECONDS = 120
"""How long a machine waits for the word to keep a change, unless the service says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFile:
    """A file on each machine of the service, or one that must not be there.

    Args:
        path: where it goes on the machine.
        source: its name in the service's folder; one that ends in ``.j2`` is a template. Empty for an absent file.
        absent: nothing may be at the path; mode, owner, group and validate then mean nothing.
        validate: the command that tells whether a new content is good, ``{}`` standing for the new file; may be empty.
        reload: the unit to reload once it is there, or gone; empty for none.
    """

    path: str
    source: str = ""
    absent: bool = False
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"
    validate: tuple[str, ...] = ()
    reload: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceUnit:
    """A systemd unit that runs, and runs again after a reboot.

    Args:
        restart_on: paths of the service's own files that it must be restarted for.
    """

    unit: str
    restart_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCheck:
    """A page that each machine of the service must answer, asked for on it once the whole environment runs."""

    name: str
    url: str
    text: str
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """A command on the machine that tells whether a change did well; a part of the change, which is else taken back.

    Args:
        command: its words, each a template.
        prints: a line that it must print, a template; empty where its exit code alone tells.
    """

    name: str
    command: tuple[str, ...]
    prints: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """In which portions the machines of a service are worked on; each waits until the one before did well.

    Args:
        first: the canaries: how many machines, or their names.
        at_once: how many at a time after these; 0 for all.
    """

    first: int | tuple[str, ...] = 1
    at_once: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How an engine is set up wherever a store of it lives. All texts are templates.

    Args:
        settings: the engine's own settings, by name.
        live_settings: those only for data that is nobody's copy.
        hba: PostgreSQL's lines on who may connect from where.
        init: the source of the SQL that a new, empty store begins with; empty for none.
    """

    engine: str
    settings: tuple[tuple[str, str], ...] = ()
    live_settings: tuple[tuple[str, str], ...] = ()
    hba: tuple[str, ...] = ()
    init: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One folder of ``services/``.

    Args:
        mirrored: whether a stack that mirrors another runs it too.
        variables: values for its templates, and for those of other services, by name.
        packages: the Debian packages that it needs and the machine image has not.
        tool: a Puppet manifest or an Ansible playbook, which is one of its files.
        pages: checks of the service while everything runs.
        checks: checks within each change of it.
        by_hand: what a person does first.
        migrations: changes of databases, in order.
        confirm_seconds: how long a machine waits for the word to keep a change before it takes it back by itself.
    """

    name: str
    mirrored: bool = True
    variables: tuple[tuple[str, str | int | bool], ...] = ()
    packages: tuple[str, ...] = ()
    files: tuple[ServiceFile, ...] = ()
    units: tuple[ServiceUnit, ...] = ()
    pages: tuple[PageCheck, ...] = ()
    checks: tuple[CommandCheck, ...] = ()
    confirm_seconds: int = CONFIRM_SECONDS
    rollout: Rollout = Rollout()
    tool: Tool | None = None
    engine: EngineSettings | None = None
    by_hand: tuple[ByHand, ...] = ()
    migrations: tuple[Migration, ...] = ()

    def sources(self) -> tuple[str, ...]:
        """Return the names of the files in the service's folder that are needed.

        >>> Service(name="web", files=(ServiceFile(source="a.j2", path="/a"),)).sources()
        ('a.j2',)
        """
        init = (self.engine.init,) if self.engine and self.engine.init else ()
        files = (file.source for file in self.files if not file.absent)
        return tuple(dict.fromkeys((*files, *init, *(name for each in self.migrations for name in each.sources))))
