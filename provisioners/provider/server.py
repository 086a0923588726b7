"""The provider as the engine sees it: one servicer for all kinds. Kinds know nothing of the engine."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NoReturn, Protocol, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from model.errors import UnderstudyError
from provisioners.outcome import ConnectionLost, Deadline, Say, Unreachable, pause, stop_everything
from provisioners.provider.differences import differences
from provisioners.provider.fate import fate
from provisioners.provider.kinds import Failure, Foreseeing, HalfMade, Kind, Planning, Real, Shouting, Telling, Values
from provisioners.provider.wire import message, plain
from provisioners.ticker import TICK_SECONDS, ticking

VERSION = "0.1.0"
_TRIES = 4
"""How often a change is begun before a lost SSH connection is an error."""
_STEADY_SECONDS = 60.0
"""A connection that held for so long begins the count anew: a restore of hours may see many losses."""

T = TypeVar("T")


class Progress(Protocol):
    """Where progress is shown."""

    def attach(self, address: str) -> None:
        """Show it to the engine at this address from now on."""

    def say(self, urn: str) -> Say:
        """Return what shows lines on that resource."""

    def warn(self, urn: str, text: str) -> None:
        """Leave a warning that stays."""

    def note(self, urn: str, text: str) -> None:
        """Leave a text that stays."""


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine. Each call has a thread of its own, so kinds may block.

    Source: pulumi, proto/pulumi/provider.proto.
    """

    def __init__(self, kinds: Mapping[str, Kind], progress: Progress, tick_seconds: float = TICK_SECONDS) -> None:
        self._kinds, self._progress, self._tick_seconds = kinds, progress, tick_seconds
        self._engine = ""
        self._told: set[tuple[str, str]] = set()
        self._compared: dict[str, Values] = {}

    # -- What the engine asks once ---------------------------------------------------------------------------------

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ProviderHandshakeResponse:
        """Agree on the protocol; ``accept_secrets=False`` makes the engine mark again what is read back."""
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=False, accept_resources=False, accept_outputs=False
        )

    def Attach(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Know the engine, which asks this of a provider that it has not started itself.

        Such a one is met by several engines, one after the other: a preview's, then the update's.
        """
        if request.address != self._engine:
            self._engine = request.address
            self._progress.attach(request.address)
            self._told.clear()
            self._compared.clear()
        return empty_pb2.Empty()

    def Configure(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ConfigureResponse:
        """As `Handshake`."""
        return provider_pb2.ConfigureResponse(
            acceptSecrets=False, acceptResources=False, acceptOutputs=False, supportsPreview=True
        )

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Return the version."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.GetSchemaResponse:
        """Return a schema that only names the package: programs use the classes in ``components/resources.py``."""
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "understudy", "version": "{VERSION}"}}')

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Accept the provider's configuration, which is empty."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Say that no change of the provider's configuration matters."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """End what runs: the user pressed Ctrl-C."""
        stop_everything()
        return empty_pb2.Empty()

    # -- What it asks about each resource ----------------------------------------------------------------------------

    def Check(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Return the inputs as they are, and what is wrong with them; say what a change will do.

        Of a resource that is replaced because another one is, the engine compares only what that one changes; then
        it checks the new inputs as if there had been no old ones. So those are remembered from the comparison.
        Source: pulumi, pkg/resource/deploy/step_generator.go, calculateDependentReplacements and generateSteps.
        """
        kind, old, new = self._kind(request.urn, context), plain(request.olds), plain(request.news)
        failures: tuple[Failure, ...] = self._guarded(context, lambda: kind.check(new))
        before = old or self._compared.get(request.urn, {})
        if before and not failures and isinstance(kind, Telling):
            self._tell(request.urn, self._guarded(context, lambda: kind.consequence(before, new)), self._progress.warn)
        if before and not failures and isinstance(kind, Planning):
            self._tell(request.urn, self._guarded(context, lambda: kind.plan(before, new)), self._progress.note)
        # Not in `property`: the engine would print that input's value, be it secret or not.
        shown = [provider_pb2.CheckFailure(reason=f"{failure.property}: {failure.reason}") for failure in failures]
        return provider_pb2.CheckResponse(inputs=request.news, failures=shown)

    def Diff(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Compare the inputs in the state with the program's."""
        kind = self._kind(request.urn, context)
        old, new = plain(request.old_inputs), plain(request.news)
        if isinstance(kind, Telling):
            self._compared[request.urn] = old
        found = differences(kind, old, new)
        self._shout(kind, request.urn, new, _outputs(request))
        detailed = {}
        for each in found:
            name = each.change.upper() + ("_REPLACE" if each.replaces else "")
            detailed[each.path] = provider_pb2.PropertyDiff(
                kind=provider_pb2.PropertyDiff.Kind.Value(name), inputDiff=True
            )
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some if found else none,
            replaces=[each.path for each in found if each.replaces],
            diffs=sorted({_top(each.path) for each in found}),
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Make it, or foretell it in a preview."""
        kind, inputs = self._kind(request.urn, context), plain(request.properties)
        if request.preview:
            self._shout(kind, request.urn, inputs, {}, planned=True)
            return provider_pb2.CreateResponse(properties=self._foretold(kind, inputs, {}))
        try:
            with self._saying(request.urn) as say:
                identifier, outputs = self._guarded(
                    context, lambda: _persist(lambda: kind.create(inputs, say), say), HalfMade
                )
        except HalfMade as error:
            self._half_made(context, kind, inputs, error)
        self._shout(kind, request.urn, inputs, outputs)
        return provider_pb2.CreateResponse(id=identifier, properties=_state(kind, inputs, outputs))

    def Update(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Change it in place, or foretell that."""
        kind, inputs = self._kind(request.urn, context), plain(request.news)
        old, outputs = plain(request.old_inputs), _outputs(request)
        if request.preview:
            self._shout(kind, request.urn, inputs, outputs, planned=True)
            return provider_pb2.UpdateResponse(properties=self._foretold(kind, inputs, outputs))
        with self._saying(request.urn) as say:
            new = self._guarded(
                context, lambda: _persist(lambda: kind.update(request.id, old, inputs, outputs, say), say)
            )
        return provider_pb2.UpdateResponse(properties=_state(kind, inputs, new))

    def Read(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """Return what is really there; an empty answer means that it is gone."""
        kind, inputs = self._kind(request.urn, context), plain(request.inputs)
        outputs = _outputs(request)
        with self._saying(request.urn) as say:
            real = self._guarded(context, lambda: self._look(kind, request, inputs, outputs, say))
        if real is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=request.id,
            inputs=message(real.inputs),
            properties=_state(kind, real.inputs, {**outputs, **real.outputs}),
        )

    def Delete(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Take it away."""
        kind, inputs = self._kind(request.urn, context), plain(request.old_inputs)
        outputs = _outputs(request)
        with self._saying(request.urn) as say:
            self._guarded(context, lambda: self._take_away(kind, request.id, inputs, outputs, say))
        return empty_pb2.Empty()

    # -- How -----------------------------------------------------------------------------------------------------------

    def _kind(self, urn: str, context: grpc.ServicerContext) -> Kind:
        token = urn.split("::", 3)[2].rpartition("$")[2]
        kind = self._kinds.get(token)
        if kind is None:
            return context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{token}: there is no such kind of resource")
        return kind

    def _saying(self, urn: str) -> AbstractContextManager[Say]:
        return ticking(self._progress.say(urn), self._tick_seconds)

    def _shout(self, kind: Kind, urn: str, inputs: Values, outputs: Values, *, planned: bool = False) -> None:
        for text in kind.shouts(inputs, outputs, planned=planned) if isinstance(kind, Shouting) else ():
            self._progress.warn(urn, text)

    def _tell(self, urn: str, text: str, show: Callable[[str, str], None]) -> None:
        """Say it once: the engine checks what it replaces twice."""
        if text and (urn, text) not in self._told:
            self._told.add((urn, text))
            show(urn, text)

    def _foretold(self, kind: Kind, inputs: Values, outputs: Values) -> struct_pb2.Struct:
        certain = kind.foresee(inputs, outputs) if isinstance(kind, Foreseeing) else {}
        return _state(kind, inputs, certain)

    def _guarded(self, context: grpc.ServicerContext, work: Callable[[], T], *through: type[Exception]) -> T:
        """Run a kind's function; an error becomes a text that stands in the user's terminal as it is."""
        try:
            return work()
        except UnderstudyError as error:
            if isinstance(error, through):
                raise
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except Exception as error:  # noqa: BLE001  # the last place where a mistake of ours can be shown
            traceback.print_exc(file=sys.stderr)
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{where.filename.rsplit('/', 1)[-1]} line {where.lineno}"
            context.abort(grpc.StatusCode.INTERNAL, f"a mistake in Understudy at {at}: {type(error).__name__}: {error}")
        raise AssertionError("abort raises")

    def _look(self, kind: Kind, request: Any, inputs: Values, outputs: Values, say: Say) -> Real | None:
        """Read it. With a virtual machine that is gone, all that was on it is; one that is off is as it was."""
        try:
            return _persist(lambda: kind.read(request.id, inputs, outputs, say), say)
        except Unreachable as error:
            match fate(inputs):
                case "gone":
                    return None
                case "off":
                    self._progress.warn(request.urn, f"{error.where} is shut off: what is on it was not looked at")
                    return Real(inputs=inputs, outputs=outputs)
            raise

    @staticmethod
    def _take_away(kind: Kind, identifier: str, inputs: Values, outputs: Values, say: Say) -> None:
        try:
            _persist(lambda: kind.delete(identifier, inputs, outputs, say), say)
        except Unreachable:
            if fate(inputs) != "gone":
                raise

    def _half_made(self, context: grpc.ServicerContext, kind: Kind, inputs: Values, error: HalfMade) -> NoReturn:
        """Tell the engine that it exists but is not right.

        Source: pulumi, sdk/go/common/resource/plugin/provider_plugin.go, parseError and initializationError.
        """
        state = _state(kind, inputs, error.outputs)
        failed = provider_pb2.ErrorResourceInitFailed(
            id=error.identifier, properties=state, reasons=[str(error)], inputs=message(inputs)
        )
        detail = any_pb2.Any()
        detail.Pack(failed)
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error), details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.UNKNOWN, str(error))


def _persist(work: Callable[[], T], say: Say) -> T:
    """Begin anew where the connection to the machine was lost; kinds are made for that."""
    attempt = 0
    while True:
        attempt, began = attempt + 1, Deadline(_STEADY_SECONDS)
        try:
            return work()
        except ConnectionLost as error:
            attempt = 1 if began.left <= 0 else attempt
            if attempt >= _TRIES:
                raise
            say(f"the connection to {error.where} was lost: going on ({attempt} of {_TRIES - 1})")
            pause(0.5 * attempt, error.where)


def _top(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def _outputs(request: Any) -> Values:
    """Return what a resource's state holds besides its inputs."""
    has_olds = isinstance(request, provider_pb2.UpdateRequest | provider_pb2.DiffRequest)
    held = plain(request.olds if has_olds else request.properties)
    inputs = request.inputs if isinstance(request, provider_pb2.ReadRequest) else request.old_inputs
    return {key: value for key, value in held.items() if key not in inputs.fields}


def _state(kind: Kind, inputs: Values, outputs: Values) -> struct_pb2.Struct:
    return message({**inputs, **outputs}, kind.secret_outputs)
