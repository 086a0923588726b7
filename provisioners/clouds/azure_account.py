"""How Azure is asked: with a token of who is logged in with `az`, or of an account for programs, over plain HTTPS.

Some questions are asked, and what a killed run left is taken away. Microsoft's own packages for that bring forty
others; what is asked for is a page of JSON.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit

from model.errors import UnderstudyError
from provisioners.clouds.asking import Reply, answer, reply
from provisioners.outcome import Deadline, pause

# Source: Microsoft, "Azure REST API reference"; "OAuth 2.0 client credentials flow on the Microsoft identity platform".
ARM = "https://management.azure.com"
LOGIN = "https://login.microsoftonline.com"
_LOGIN_SECONDS = 60
_MOST_PAGES = 50
_ACT_SECONDS, _LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 1200.0, 5.0, 30.0
# Source: Azure/karpenter-provider-azure, issue 92: a card is kept for 180 seconds for a machine that was not made
# (`NicReservedForAnotherVm`). What was being made when a run was killed may still be in the making (409).
_BUSY_SECONDS = 240.0
_BUSY_STATUS, _BUSY_CODES = {409, 429}, {"NicReservedForAnotherVm", "AnotherOperationInProgress", "RetryableError"}
_FAILED = {"Failed", "Canceled"}
_LOG_IN = "Run `az login`, or set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID."
_OF_PROGRAMS = ("ARM_CLIENT_ID", "ARM_CLIENT_SECRET", "ARM_TENANT_ID")


class _Gone(UnderstudyError):
    """There is no such thing, or no more."""


class _Busy(UnderstudyError):
    """Something is still being made or changed, or held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A subscription in Azure, as somebody sees it.

    Args:
        subscription: its id.
        token: says who asks; a secret.
        address: of the service; a test's is another.
    """

    subscription: str
    token: str = field(repr=False)
    address: str = ARM

    def get(self, path: str, version: str, **query: str) -> Any:
        """Return what Azure says of something below the subscription.

        Args:
            path: within the subscription; empty for itself.
            version: of the interface that is asked.
            query: what else is told, such as ``filter`` for OData's ``$filter``.

        Raises:
            UnderstudyError: there is no answer, or it is a refusal.
        """
        return self._ask(self._url(path, version, query))

    def every(self, path: str, version: str, **query: str) -> Iterator[Any]:
        """Yield what Azure lists, over all pages.

        Raises:
            UnderstudyError: as above, or the list goes on elsewhere or without an end.
        """
        url = self._url(path, version, query)
        for _ in range(_MOST_PAGES):
            page = self._ask(url)
            yield from page.get("value", ())
            url = str(page.get("nextLink") or "")
            if not url:
                return
            self._refuse_elsewhere("its next page", url)
        raise UnderstudyError(where="Azure", found=f"more than {_MOST_PAGES} pages of {path}")

    def act(self, method: str, path: str, version: str, told: Any = None) -> None:
        """Have something done, such as a deletion, and wait until it is; also where there is no such thing any more.

        Source: Microsoft, "Track asynchronous Azure operations".

        Args:
            method: HTTP's.
            path: within the subscription.
            version: of the interface.
            told: what is sent as JSON.

        Raises:
            UnderstudyError: there is no answer, it is a refusal, or it takes too long.
            Stopped: the user asked to stop.
        """
        deadline, busy = Deadline(_ACT_SECONDS), Deadline(_BUSY_SECONDS)
        sent = None if told is None else json.dumps(told).encode()
        while True:
            try:
                self._wait(self._reply(self._url(path, version, {}), sent, method), path, deadline)
            except _Gone:
                if method != "DELETE":
                    raise
            except _Busy:
                if busy.left <= 0:
                    raise
                pause(_LOOK_SECONDS, "Azure")
                continue
            return

    def _wait(self, begun: Reply, path: str, deadline: Deadline) -> None:
        """Wait for what was begun, at an address that says how it goes, or else at one that says 202 until then."""
        told, looked = begun, begun.headers.get("azure-asyncoperation", "")
        url = looked or begun.headers.get("location", "")
        while url and (told is begun or _goes_on(told, by_status=bool(looked))):
            if deadline.left <= 0:
                found = f"{path} takes longer than {_ACT_SECONDS:.0f} s"
                raise UnderstudyError(where=f"Azure {self.subscription}", found=found, todo="Run it again.")
            pause(_look_seconds(told), "Azure")
            self._refuse_elsewhere("what says how it goes", url)
            told = self._reply(url, None, "GET")
        if looked and (said := told.told or {}).get("status") in _FAILED:
            error = said.get("error") or {}
            raise self._refused(str(error.get("code") or said["status"]), str(error.get("message", path)))

    def _refuse_elsewhere(self, what: str, url: str) -> None:
        """The token is Azure's alone."""
        if urlsplit(url)[:2] != urlsplit(self.address)[:2]:
            raise UnderstudyError(where="Azure", found=f"{what} is elsewhere, at {urlsplit(url).netloc}")

    def _url(self, path: str, version: str, query: Mapping[str, str]) -> str:
        told = urlencode({"api-version": version, **{f"${key}": value for key, value in query.items()}})
        return f"{self.address}/subscriptions/{quote(self.subscription)}{quote(path)}?{told}"

    def _ask(self, url: str) -> Any:
        try:
            return answer(url, {"Authorization": f"Bearer {self.token}"})
        except HTTPError as error:
            raise self._refusal(error) from None

    def _reply(self, url: str, sent: bytes | None, method: str) -> Reply:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            return reply(url, headers, sent, method)
        except HTTPError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: HTTPError) -> UnderstudyError:
        code, said = _said(error)
        return self._refused(code, said, error.code)

    def _refused(self, code: str, said: str, status: int = 0) -> UnderstudyError:
        """Return what a refusal is: of a kind of its own where there is no such thing, or where it may pass."""
        kind = UnderstudyError
        if status == 404:
            kind = _Gone
        elif status in _BUSY_STATUS or code in _BUSY_CODES:
            kind = _Busy
        todo = f"See `az account show --subscription {self.subscription}`."
        if status == 401:
            todo = _LOG_IN
        elif status == 403:
            todo = (
                "An owner of it gives the right: `az role assignment create --role Contributor --assignee WHO --scope "
                f"/subscriptions/{self.subscription}`."
            )
        elif code in {"SubscriptionNotFound", "InvalidSubscriptionId"}:
            todo = "`az account list --output table` names yours; correct `cloud.subscription`."
        return kind(where=f"Azure {self.subscription}", found=f"{code}: {said}", todo=todo)


def within(identifier: str) -> str:
    """Return what an identifier of Azure's says below its subscription.

    >>> within("/subscriptions/0a1b2c3d/resourceGroups/dr-west")
    '/resourceGroups/dr-west'
    """
    return f"/{identifier.split('/', 3)[3]}"


def _goes_on(told: Reply, *, by_status: bool) -> bool:
    if not by_status:
        return told.status == 202
    return (told.told or {}).get("status") not in {"Succeeded", *_FAILED}


def _look_seconds(told: Reply) -> float:
    """Return how long to wait, as Azure says, but never for long."""
    said = told.headers.get("retry-after", "")
    return min(float(said), _LONGEST_LOOK_SECONDS) if said.isdecimal() else _LOOK_SECONDS


def log_in(subscription: str, environment: Mapping[str, str], address: str = ARM, login: str = LOGIN) -> Account:
    """Return a subscription as Azure's plugin would see it: of an account for programs, or as who is logged in.

    Args:
        subscription: its id.
        environment: the process's.
        address: of Azure.
        login: of what gives tokens.

    Raises:
        UnderstudyError: nobody is logged in; with the line to type.
    """
    known = [environment[name] for name in _OF_PROGRAMS if environment.get(name)]
    token = _token_of_program(login, *known) if len(known) == len(_OF_PROGRAMS) else _token_of_person(subscription)
    return Account(subscription=subscription, token=token, address=address)


def _token_of_program(login: str, client: str, secret: str, tenant: str) -> str:
    told = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": secret,
        "scope": f"{ARM}/.default",
    }
    url = f"{login}/{quote(tenant, safe='')}/oauth2/v2.0/token"
    try:
        return str(answer(url, {}, urlencode(told).encode())["access_token"])
    except HTTPError as error:
        code, said = _said(error)
        todo = "Correct ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID; `az ad sp credential reset` gives new ones."
        raise UnderstudyError(where="Azure: credentials", found=f"{code}: {said}", todo=todo) from None


def _token_of_person(subscription: str) -> str:
    argv = ("az", "account", "get-access-token", "--subscription", subscription, "--output", "json", "--resource", ARM)
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LOGIN_SECONDS, check=False
        )
        found = (done.stderr.strip().splitlines() or ["nothing"])[0]
        if done.returncode == 0:
            return str(json.loads(done.stdout)["accessToken"])
    except FileNotFoundError:
        found = "none: neither in the environment, nor is there an `az`"
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        found = f"`az` gives no token: {type(error).__name__}"
    raise UnderstudyError(
        where="Azure: credentials", found=found, wanted="those of somebody who may make machines", todo=_LOG_IN
    )


def _said(error: HTTPError) -> tuple[str, str]:
    """Return the code and the first line of a refusal; Azure and what gives tokens say them differently."""
    try:
        told = json.loads(error.read())
        inner = told["error"] if isinstance(told.get("error"), dict) else told
        text = inner.get("message") or inner.get("error_description") or error.reason
        return str(inner.get("code") or inner.get("error") or error.code), str(text).partition("\n")[0].strip()
    except (ValueError, AttributeError, KeyError):
        return str(error.code), str(error.reason)
