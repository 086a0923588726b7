"""A service on one machine, changed as one unit: everything as it should be and checked, or all as it was before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.change.digest import NOTHING
from model.errors import UnderstudyError
from provisioners.changes import checked
from provisioners.changes.acts import items, pending_by_hand, pending_migrations, restore_words
from provisioners.changes.adopting import refuse_other
from provisioners.changes.apply import apply, end_open, observe
from provisioners.changes.importing import imported
from provisioners.changes.leaving import going
from provisioners.changes.marks import filled, hidden
from provisioners.changes.observed import BEFORE, Observed
from provisioners.changes.parts import left_to_puppet, parts
from provisioners.changes.seen import Seen
from provisioners.changes.signed import missing_words, require_words
from provisioners.changes.trying import tried
from provisioners.changes.written import foretold
from provisioners.outcome import Say
from provisioners.provider.inputs import REACH
from provisioners.provider.kinds import Failure, Real, Values, has_unknown
from provisioners.provider.machines import changing, place, reach_of, reading
from provisioners.shell import USUAL_PATIENCE_SECONDS, connect

_PATIENCE_SECONDS = 10.0
_TRIED = ("connection", "private_key", "tool", "files", "secrets")
_NOT_INSTALLED = "(not installed)"


class Service:
    """Kind ``understudy:index:Service``.

    Inputs besides the common ones: ``service``; ``files`` (``content``, ``mode``, ``owner``, ``group``, ``absent`` by
    path), with marks ``@@NAME@@`` for ``secrets`` (a secret value by NAME); ``validate`` (a command by path, ``{}``
    standing for the new file); ``reload`` (a unit by path); ``packages`` (``version``, ``sha256``, and ``source``, a
    file on this computer, by name); ``units`` (``restart_on``, paths, by unit); ``checks`` (``name``, ``command``,
    ``prints``); ``confirm_seconds``; ``digest``, of the service as Git has it; ``tool`` (``kind``, ``path``, and what
    it may change: ``files``, ``packages``, ``units``), a Puppet manifest or an Ansible playbook among the files;
    ``by_hand`` (``name``, ``text``, ``needs``, ``check``, ``prints``, ``back_out``), what a person does first, once;
    ``migrations`` (``name``, ``store``, ``version``, ``port``, ``database``, ``owner``, ``up`` and ``back_out``, SQL;
    none where only a restore takes it back); ``evidence`` (``stack``, ``project_directory``), where words are signed;
    ``forecasts``, how long a store's restore takes, in words; ``adopt``, on a machine that was there before us: whether
    the service was there too, and is only taken for what it is.

    Outputs: ``change``, the id of the change that made it so; ``backup``, the directory on the machine with what was
    there before that; ``steps_done``; ``puppet``, the files that are left to a Puppet which manages them otherwise.
    """

    token = "understudy:index:Service"
    secret_outputs: frozenset[str] = frozenset()
    replace_on = frozenset({"service"})
    ignored = REACH | {"validate", "reload", "checks", "confirm_seconds", "adopt", "evidence", "forecasts"}

    def check(self, inputs: Mapping[str, Any]) -> tuple[Failure, ...]:
        """Return what is wrong with the inputs."""
        return checked.failures(inputs)

    def create(self, inputs: Values, say: Say) -> tuple[str, Values]:
        """Make it as it should be; where it is adopted, it has to be so already.

        Raises:
            UnderstudyError: a step failed; what was there before is back. Or it is other than it was said to be.
        """
        if inputs.get("adopt"):
            connection, key = place(inputs, "")
            with connect(connection, key, say, USUAL_PATIENCE_SECONDS) as shell:
                found = observe(shell, inputs)
                refuse_other(shell, inputs, found)
            return f"{connection.name}:{inputs['service']}", _outputs(inputs, found, {})
        return f"{inputs['connection']['name']}:{inputs['service']}", self._make(inputs, {}, say)

    def read(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Return what is really there, line by line, in one round trip.

        In an import, the identifier says where it is and what it has.

        Raises:
            UnderstudyError: what is to be imported cannot be taken over; the text says why.
        """
        with reading(inputs, identifier, say) as shell:
            if not inputs:
                taken, found = imported(shell, identifier, reach_of(shell))
                return Real(inputs=taken, outputs=_outputs(taken, found, outputs))
            found = observe(shell, inputs)
            real = real_inputs(inputs, found)
            if inputs.get("tool") and (text := tried(shell, inputs)):
                real["tool"] = {**inputs["tool"], "would_change": text}
        return Real(inputs=real, outputs=_outputs(inputs, found, outputs))

    def shouts(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], *, planned: bool) -> tuple[str, ...]:
        """Return warnings: of files that Puppet manages, and are left to it; of what is to be adopted, and is other."""
        if planned and not outputs and inputs.get("adopt") and not has_unknown(dict(inputs)):
            return self._foretold(inputs)
        paths = [path for path in outputs.get("puppet") or () if path in (inputs.get("files") or {})]
        text = "Puppet manages {} there, and has it another way: it is left to Puppet. Take it out of one of the two."
        told = [text.format(path) for path in paths]
        return (*told, *(_acts(inputs) if planned and not has_unknown(dict(inputs)) else ()))

    @staticmethod
    def _foretold(inputs: Mapping[str, Any]) -> tuple[str, ...]:
        connection, key = place(inputs, "")
        try:
            with connect(connection, key, lambda _: None, _PATIENCE_SECONDS) as shell:
                refuse_other(shell, inputs, observe(shell, inputs))
        except UnderstudyError as error:
            return (f"REFUSED in an update: {error}",)
        return ()

    def consequence(self, old: Values, inputs: Mapping[str, Any]) -> str:
        """Return what a manifest or playbook would change on the machine now; empty where a service has none."""
        if not inputs.get("tool") or has_unknown({key: inputs.get(key) for key in _TRIED}):
            return ""
        connection, key = place(inputs, "")
        kind = inputs["tool"]["kind"]
        try:
            with connect(connection, key, lambda _: None, _PATIENCE_SECONDS) as shell:
                text = tried(shell, inputs)
        except UnderstudyError as error:
            return f"what {kind} would change could not be asked: {error}"
        if not text or text.startswith(f"{kind} "):  # it is not there, or could not try it
            return f"{connection.name}: {text or f'{kind} would change nothing'}"
        return f"{kind} would change on {connection.name}:\n{text}"

    def plan(self, old: Values, inputs: Mapping[str, Any]) -> str:
        """Return how the machine will be changed: what happens there, the commands, and the way back."""
        same = all(old.get(key) == inputs.get(key) for key in {*old, *inputs} - self.ignored)
        if same or inputs.get("tool") or has_unknown(dict(inputs)):
            return ""
        connection, key = place(inputs, "")
        try:
            with connect(connection, key, lambda _: None, _PATIENCE_SECONDS) as shell:
                return foretold({**inputs, BEFORE: old.get("digest") or ""}, observe(shell, inputs))
        except UnderstudyError as error:
            return f"how it will be changed could not be asked: {error}"

    def update(self, identifier: str, old: Values, inputs: Values, outputs: Values, say: Say) -> Values:
        """Make it as it should be; a machine where it is so already costs one round trip."""
        inputs = {**inputs, BEFORE: old.get("digest") or ""}
        connection, key = place(inputs, "")
        with connect(connection, key, say, USUAL_PATIENCE_SECONDS) as shell:
            found = observe(shell, inputs)
            if not found.open and not parts(inputs, found):
                return _outputs(inputs, found, outputs)
        return self._make(inputs, outputs, say)

    def delete(self, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        """Put back what was there before the first change; that is a change like any other, and can be taken back.

        Raises:
            UnderstudyError: something could not be put back: then all is as it was.
        """
        goes = going(inputs)
        with changing(inputs, f"taking {inputs['service']} away", say, identifier) as shell:
            apply(shell, goes, observe(shell, goes))

    @staticmethod
    def _make(inputs: Values, outputs: Values, say: Say) -> Values:
        with changing(inputs, f"changing {inputs['service']}", say) as shell, shell.steady() as through:
            found = observe(through, inputs)  # whoever had the lock before may have changed it
            if found.open:
                end_open(through, inputs["service"])
                found = observe(through, inputs)
            require_words(inputs, parts(inputs, found))
            done = apply(through, inputs, found)
        if done is None:
            return _outputs(inputs, found, outputs)
        return {
            "puppet": list(left_to_puppet(inputs, found)),
            "change": done.backup.rpartition("-")[2],
            "backup": done.backup,
            "steps_done": done.steps_done,
        }


def _acts(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what an update will ask of people, and which migrations it will make; nothing where they are made."""
    if not inputs.get("by_hand") and not inputs.get("migrations"):
        return ()
    connection, key = place(inputs, "")
    try:
        with connect(connection, key, lambda _: None, _PATIENCE_SECONDS) as shell:
            changed = parts(inputs, observe(shell, inputs))
        missing = missing_words(inputs, changed)
    except UnderstudyError as error:
        return (f"what is to be done by hand, and in databases, could not be asked: {error}",)
    told = [
        f"by hand first, on {connection.name}: {each['name']}: {each['text']}"
        for each in items(inputs, "by_hand")
        if each["name"] in changed.by_hand
    ]
    for each in items(inputs, "migrations"):
        if each["name"] in changed.migrate:
            back = "its own SQL" if each.get("back_out") is not None else restore_words(inputs, each)
            told.append(f"migration of {each['database']}: {each['name']}; its way back: {back}")
    return (*told, *(f"REFUSED in an update until then: {line}" for line in missing))


def _outputs(inputs: Mapping[str, Any], found: Observed, outputs: Values) -> Values:
    """Return the outputs that tell of the newest change that was kept."""
    puppet = list(left_to_puppet(inputs, found))
    return {"puppet": puppet, "change": found.change, "backup": found.kept, "steps_done": outputs.get("steps_done", 0)}


def real_inputs(inputs: Mapping[str, Any], found: Observed) -> Values:
    """Return the inputs as the machine really is; where it is as it should be, the very same."""
    real = dict(inputs)
    if inputs.get("digest") and found.digest and not (inputs.get("adopt") and found.digest == NOTHING):
        real["digest"] = found.digest  # what was there before us is no change: of that the state alone knows
    secrets = inputs.get("secrets") or {}
    pending = (*pending_by_hand(inputs, found.by_hand), *pending_migrations(inputs, found.migrations))
    if files := inputs.get("files"):
        real["files"] = {
            path: file if path in found.puppet else _real_file(file, found.files[path], secrets)
            for path, file in files.items()
        }
    if packages := inputs.get("packages"):
        real["packages"] = {
            name: {**package, "version": found.packages.get(name, _NOT_INSTALLED)} for name, package in packages.items()
        }
    if by_hand := inputs.get("by_hand"):
        real["by_hand"] = [each if each["name"] not in pending else {**each, "done": False} for each in by_hand]
    if migrations := inputs.get("migrations"):
        real["migrations"] = [each if each["name"] not in pending else {**each, "made": False} for each in migrations]
    if units := inputs.get("units"):
        real["units"] = {unit: {**wanted, **_real_unit(unit, found)} for unit, wanted in units.items()}
    return real


def _real_file(wanted: Mapping[str, Any], is_there: Seen | None, secrets: Mapping[str, str]) -> Values:
    if is_there is None:
        return dict(wanted) if wanted.get("absent") else {"absent": True}
    about = {key: value for key, value in wanted.items() if key != "absent"}
    content = wanted.get("content")
    if content is None or wanted.get("absent"):
        return {**is_there.beside({}), "content": is_there.content_beside(None)}
    whole = filled(content, secrets)
    shown = is_there.content_beside(whole)
    if shown == whole:
        return {**about, **is_there.beside(wanted)}
    shown = hidden(shown, content, secrets)
    note = "\n(a secret's mark instead of the secret)\n" if shown == content else ""
    return {**about, **is_there.beside(wanted), "content": shown + note}


def _real_unit(unit: str, found: Observed) -> Values:
    state = found.units[unit]
    return {
        **({} if state.runs else {"running": False}),
        **({} if state.enabled else {"enabled": False}),
    }
