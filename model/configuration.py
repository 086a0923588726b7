"""Reads the stacks' files into one environment, or says everything that is wrong with them at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from model import rules
from model.change.rules import GateRules, read_gate
from model.cloud import CloudSettings, read_cloud
from model.environment import Environment, Settings
from model.errors import ConfigurationError, Fault
from model.limits import Sizes, as_before, limited, read_limits
from model.offsite import check_offsite, read_offsite
from model.readers import (
    MISSING,
    Place,
    Section,
    has_key,
    meant,
    one_of,
    read_choice,
    read_flag,
    read_keys,
    read_text,
)
from model.rules import ENGINES
from model.topology import Machine, Topology
from model.topology_reader import OPTIONAL, REQUIRED, read_topology

TOPOLOGY_KEYS = (*REQUIRED, *OPTIONAL)
SETTING_KEYS = ("mirror", "seed", "capacity", "at_most", "image", "warm_start", "protect", "gate", "cloud", "offsite")
KEYS = (*TOPOLOGY_KEYS, *SETTING_KEYS)
"""All keys of a stack's configuration, without their prefix; the program reads each from Pulumi."""
_OBJECT_KEYS = ("machines", "services", "stores", "pages", "at_most", "gate", "cloud", "offsite")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFile:
    """A stack's file, parsed.

    Args:
        name: the file's name, such as ``Pulumi.prod.yaml``.
        config: what stands under the project's keys, which are without their prefix.
        faults: what is wrong with its notation: no YAML, a key twice, an alias, ...
    """

    name: str
    config: Mapping[str, object]
    faults: tuple[Fault, ...] = ()


def stack_file_name(stack: str) -> str:
    """Return the name of a stack's file.

    >>> stack_file_name("prod")
    'Pulumi.prod.yaml'
    """
    return f"Pulumi.{stack}.yaml"


def with_pulumi_values(file: StackFile, values: Mapping[str, str | None]) -> StackFile:
    """Return a stack's file with the values that Pulumi has for it, which may come from elsewhere (`-c`, a default).

    Args:
        file: the stack's file; what it says of the known keys gives way, unknown keys remain (to be refused).
        values: for each of ``KEYS`` what ``pulumi.Config().get`` returns: text, or JSON for mappings. Nothing, an empty
            text and an empty mapping are Pulumi.yaml's ways to say that a key is not given.
    """
    given = {key: _decode(key, text) for key in KEYS if (text := values.get(key)) not in (None, "", "{}")}
    rest = {key: value for key, value in file.config.items() if key not in KEYS}
    return replace(file, config={**given, **rest})


def _decode(key: str, text: str | None) -> object:
    try:
        return json.loads(text or "") if key in _OBJECT_KEYS else text
    except (ValueError, RecursionError):
        return text


def read_environment(
    files: Mapping[str, StackFile], stack: str, *, services: Collection[str], before: Sizes | None = None
) -> Environment:
    """Return the environment that a stack is to be.

    Args:
        files: the files of all stacks, by the stack's name. Only the stack's own and those that it mirrors are read.
        stack: the stack's own name.
        services: names of the services that the site has: the folders of ``services/``.
        before: the sizes that some machines of a mirror had before, None for one that was not there: it is as it was.

    Raises:
        ConfigurationError: with every fault of every file that was read.
    """
    faults: list[Fault] = []
    if not rules.STACK.fullmatch(stack):
        Place("the stack's name", (), faults).fault(stack, rules.STACK_ALLOWED)
        raise ConfigurationError(tuple(faults))
    sections = [_section(file, faults) for file in _follow(files, stack, faults)]
    settings = [_read_settings(section) for section in sections]
    images = [section.read("image", read_text, rules.is_image, rules.IMAGE_ALLOWED) for section in sections]
    limits = [section.read("at_most", read_limits) for section in sections]
    machines: tuple[Machine, ...] = ()
    described = sections[-1] if sections and "mirror" not in sections[-1].values else None
    topology = read_topology(described, services) if described else None
    if described and topology:
        topology = _as_built(topology, mirrored=len(sections) > 1, image=next(filter(None, images), ""))
        topology = as_before(topology, before or {}) if len(sections) > 1 else topology
        machines, topology = topology.machines, limited(topology, limits)
        _check_seed(described, topology, settings[0].seed)
        mine = settings[0]
        check_offsite(sections[0].place, mine.offsite, topology, mine.capacity, mine.seed)
        _check_open(sections[0].place / "cloud" / "open", mine.cloud, topology)
        _check_gate(described, settings[-1])
        _check_image(described.place / "stores", topology)
    if faults or topology is None:
        raise ConfigurationError(tuple(dict.fromkeys(faults)))
    mirror = sections[0].values.get("mirror", "")
    return Environment(stack=stack, topology=topology, mirror_of=str(mirror), settings=settings[0], described=machines)


def _follow(files: Mapping[str, StackFile], stack: str, faults: list[Fault]) -> list[StackFile]:
    """Return the stack's file, the file of the stack that it mirrors, and so on to the one that describes itself."""
    if stack not in files:
        wanted = f"a file beside Pulumi.yaml that describes the stack or names a mirror; {_others(files, stack)}"
        Place(stack_file_name(stack), (), faults).fault(MISSING, wanted)
        return []
    seen = [stack]
    while isinstance(mirror := files[seen[-1]].config.get("mirror"), str):
        place = Place(files[seen[-1]].name, ("mirror",), faults)
        if mirror == seen[-1]:
            place.fault(mirror, f"another stack than itself; {_others(files, mirror)}")
        elif mirror in seen:
            place.fault(
                mirror,
                f"a stack that describes itself; this is a circle: {' -> '.join([*seen, mirror])}",
            )
        elif mirror not in files:
            place.fault(mirror, f"{_others(files, seen[-1])}{meant(mirror, files)}")
        else:
            seen.append(mirror)
            continue
        break
    return [files[name] for name in seen]


def _others(files: Mapping[str, StackFile], stack: str) -> str:
    return f"a stack with a file, {one_of([name for name in files if name != stack])}"


def _section(file: StackFile, faults: list[Fault]) -> Section:
    """Return a file's keys. Where its notation is faulty a key may be missing for that reason: then none is missed."""
    faults.extend(file.faults)
    required = () if "mirror" in file.config or file.faults else REQUIRED
    section = read_keys(
        Place(file.name, (), faults),
        file.config,
        required=required,
        optional=[key for key in KEYS if key not in required],
    )
    mirrors = "mirror" in file.config
    for key in TOPOLOGY_KEYS:
        if mirrors and key in file.config:
            wanted = "nothing: it comes from the mirrored stack's file"
            (section.place / key).note("a description beside `mirror`", wanted)
    if mirrors and "gate" in file.config:
        wanted = "nothing: only a stack that mirrors nothing has a gate"
        (section.place / "gate").fault(file.config["gate"], wanted)
    if not mirrors and "offsite" in file.config:
        wanted = "nothing: only a mirror is filled from an off-site copy"
        (section.place / "offsite").note("copies", wanted)
    if not mirrors and "at_most" in file.config:
        wanted = "nothing: only a mirror is smaller than it is described"
        (section.place / "at_most").fault(file.config["at_most"], wanted)
    return section


def _read_settings(section: Section) -> Settings:
    section.read("mirror", read_text, rules.STACK, "the name of the stack that is mirrored")
    default = "newest" if "mirror" in section.values else "empty"
    warm_start, protect = section.read("warm_start", read_flag), section.read("protect", read_flag)
    return Settings(
        seed=section.read("seed", read_choice, ("newest", "empty")) or default,
        capacity=section.read("capacity", read_choice, ("here", "hosts")) or "here",
        warm_start=True if warm_start is None else warm_start,
        protect="mirror" not in section.values if protect is None else protect,
        gate=section.read("gate", read_gate) or GateRules(),
        cloud=section.read("cloud", read_cloud) or CloudSettings(),
        offsite=section.read("offsite", read_offsite) or (),
    )


def _as_built(topology: Topology, *, mirrored: bool, image: str) -> Topology:
    """In a mirror every machine is built, those too that exist in the stack that it mirrors."""
    machines = topology.machines
    if mirrored:
        machines = tuple(replace(machine, existing=None) for machine in machines)
    return replace(topology, machines=machines, image=image)


def _check_seed(section: Section, topology: Topology, seed: str) -> None:
    for store in topology.stores:
        if seed == "newest" and not has_key(section.values["stores"], store.name, "backup"):
            wanted = "where its backups are, since `seed: newest` fills it from them"
            (section.place / "stores" / store.name / "backup").fault(MISSING, wanted)


def _check_open(place: Place, cloud: CloudSettings, topology: Topology) -> None:
    known = [machine.name for machine in topology.machines]
    for name, _ in cloud.open:
        if name not in known:
            (place / name).note("no machine of that name", f"{one_of(known)}{meant(name, known)}")


def _check_gate(section: Section, settings: Settings) -> None:
    if stack_file_name(settings.gate.evidence) == section.place.file:
        wanted = "another stack than itself: one that mirrors it, and on which its changes are rehearsed"
        (section.place / "gate" / "evidence").fault(settings.gate.evidence, wanted)


def _check_image(place: Place, topology: Topology) -> None:
    """The project's own image has one version of each engine; a machine that exists has what it has."""
    for store in topology.stores:
        built = [machine for machine in topology.machines if machine.name in (store.primary, *store.replicas)]
        has = ENGINES[store.engine].image_version
        if topology.image or store.version in ("", has) or all(machine.existing for machine in built):
            continue
        wanted = f"{has}, the version in the project's machine image; or name an image of your own with `image`"
        (place / store.name / "version").fault(store.version, wanted)
