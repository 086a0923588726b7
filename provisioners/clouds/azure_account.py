"""How Azure is asked: with a token of who is logged in with `az`, or of an account for programs, over plain HTTPS.

Six questions are asked. Microsoft's own packages for that bring forty others; what is asked for is a page of JSON.
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
from provisioners.clouds.asking import answer

# Source: Microsoft, "Azure REST API reference"; "OAuth 2.0 client credentials flow on the Microsoft identity platform".
ARM = "https://management.azure.com"
LOGIN = "https://login.microsoftonline.com"
_LOGIN_SECONDS = 60
_MOST_PAGES = 50
_LOG_IN = "Run `az login`, or set ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID."
_OF_PROGRAMS = ("ARM_CLIENT_ID", "ARM_CLIENT_SECRET", "ARM_TENANT_ID")


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
            if urlsplit(url)[:2] != urlsplit(self.address)[:2]:
                raise UnderstudyError(where="Azure", found=f"its next page is elsewhere, at {urlsplit(url).netloc}")
        raise UnderstudyError(where="Azure", found=f"more than {_MOST_PAGES} pages of {path}")

    def _url(self, path: str, version: str, query: Mapping[str, str]) -> str:
        told = urlencode({"api-version": version, **{f"${key}": value for key, value in query.items()}})
        return f"{self.address}/subscriptions/{quote(self.subscription)}{quote(path)}?{told}"

    def _ask(self, url: str) -> Any:
        try:
            return answer(url, {"Authorization": f"Bearer {self.token}"})
        except HTTPError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: HTTPError) -> UnderstudyError:
        code, said = _said(error)
        todo = f"See `az account show --subscription {self.subscription}`."
        if error.code == 401:
            todo = _LOG_IN
        elif error.code == 403:
            todo = (
                "An owner of it gives the right: `az role assignment create --role Contributor --assignee WHO --scope "
                f"/subscriptions/{self.subscription}`."
            )
        elif code in {"SubscriptionNotFound", "InvalidSubscriptionId"}:
            todo = "`az account list --output table` names yours; correct `cloud.subscription`."
        return UnderstudyError(where=f"Azure {self.subscription}", found=f"{code}: {said}", todo=todo)


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
