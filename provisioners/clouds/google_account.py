"""How Google is asked: with the credentials that its plugin for Pulumi finds, over plain HTTPS.

Source: Google, "How Application Default Credentials works", "Using OAuth 2.0 for server to server applications" and
"Using OAuth 2.0 to access Google APIs" (a refresh token); Pulumi, "Google Cloud: installation and configuration".
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from model.errors import UnderstudyError
from provisioners.clouds.asking import answer
from provisioners.outcome import Deadline, pause

COMPUTE = "https://compute.googleapis.com/compute/v1"
TOKENS = "https://oauth2.googleapis.com/token"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_GOOD_SECONDS = 600
_MOST_PAGES = 50
_ACT_SECONDS, _LOOK_SECONDS = 600.0, 2.0
_LOG_IN = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key's file."
_WHO = "those of somebody who may make machines"


class _NotReady(UnderstudyError):
    """Something is still being made, or changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A project at Google, as somebody sees it.

    Args:
        project: its id.
        token: says who asks; a secret.
        address: of the service; a test's is another.
    """

    project: str
    token: str = field(repr=False)
    address: str = COMPUTE

    def get(self, path: str, project: str = "", **query: str) -> Any:
        """Return what Google says of something in a project; None where there is no such thing.

        Args:
            path: within the project; empty for itself.
            project: another one's id, such as an image's.
            query: what else is told.

        Raises:
            UnderstudyError: there is no answer, or it is a refusal.
        """
        return self._ask(f"/projects/{quote(project or self.project)}{quote(path)}", query)

    def act(self, method: str, path: str, **query: str) -> None:
        """Have something done, such as a deletion, and wait until it is; also where there is no such thing any more.

        Raises:
            UnderstudyError: there is no answer, it is a refusal, or it takes too long.
            Stopped: the user asked to stop.
        """
        deadline = Deadline(_ACT_SECONDS)
        told = self._begun(method, f"/projects/{quote(self.project)}{quote(path)}", query, deadline)
        while told is not None and told.get("status") != "DONE":
            if deadline.left <= 0:
                raise UnderstudyError(
                    where=f"Google {self.project}", found=f"{path} takes too long", todo="Run it again."
                )
            pause(_LOOK_SECONDS, "Google")
            told = self._ask(f"/projects/{within_projects(told['selfLink'])}", {})
        if told and (errors := (told.get("error") or {}).get("errors")):
            said = f"{errors[0].get('code')}: {errors[0].get('message')}"
            raise UnderstudyError(where=f"Google {self.project}: {path}", found=said)

    def _begun(self, method: str, path: str, query: Mapping[str, str], deadline: Deadline) -> Any:
        """Begin it; what was being made when a run was killed may still be in the making."""
        while True:
            try:
                return self._ask(path, query, method)
            except _NotReady:
                if deadline.left <= 0:
                    raise
                pause(_LOOK_SECONDS, "Google")

    def _ask(self, path: str, query: Mapping[str, str], method: str = "GET") -> Any:
        told = f"?{urlencode(query)}" if query else ""
        sent = b"" if method == "POST" else None
        try:
            return answer(f"{self.address}{path}{told}", {"Authorization": f"Bearer {self.token}"}, sent, method)
        except HTTPError as error:
            if error.code == 404:
                return None
            raise self._refusal(error) from None

    def every(self, path: str, **query: str) -> list[Any]:
        """Return what Google lists, over all pages; of what is listed by place, each place's own.

        Raises:
            UnderstudyError: as above, or the list has no end.
        """
        found: list[Any] = []
        for _ in range(_MOST_PAGES):
            page = self.get(path, **query) or {}
            items = page.get("items") or ()
            found += items.values() if isinstance(items, Mapping) else items
            if not (token := str(page.get("nextPageToken") or "")):
                return found
            query["pageToken"] = token
        raise UnderstudyError(where="Google", found=f"more than {_MOST_PAGES} pages of {path}")

    def _refusal(self, error: HTTPError) -> UnderstudyError:
        reason, said = _said(error)
        todo = f"See `gcloud projects describe {self.project}`."
        if error.code == 401:
            todo = _LOG_IN
        elif reason in {"accessNotConfigured", "SERVICE_DISABLED"}:
            todo = f"Run `gcloud services enable compute.googleapis.com --project {self.project}`."
        elif error.code == 403:
            todo = (
                f"An owner gives the right: `gcloud projects add-iam-policy-binding {self.project} --member WHO "
                "--role roles/compute.admin`."
            )
        kind = _NotReady if reason == "resourceNotReady" else UnderstudyError
        return kind(where=f"Google {self.project}", found=f"{reason}: {said}", todo=todo)


def within_projects(link: str) -> str:
    """Return what a link of Google's says after its projects, which is how Terraform's provider calls things too.

    >>> within_projects("https://www.googleapis.com/compute/v1/projects/shop/global/networks/dr-network")
    'shop/global/networks/dr-network'
    """
    return link.rpartition("/projects/")[2]


def log_in(
    project: str, environment: Mapping[str, str], home: Path, address: str = COMPUTE, tokens: str = TOKENS
) -> Account | None:
    """Return a project as Google's plugin would see it; None for credentials that only the plugin can use.

    Args:
        project: its id.
        environment: the process's.
        home: the user's home directory.
        address: of Google.
        tokens: of what gives tokens.

    Raises:
        UnderstudyError: there are no credentials, or they cannot be used; with the line to type.
    """
    if token := environment.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
        return Account(project=project, token=token, address=address)
    where, told = _credentials(environment, home)
    try:
        asked = _token_question(told, tokens)
        if asked is None:
            return None
        token = str(answer(tokens, {}, urlencode(asked).encode())["access_token"])
    except HTTPError as error:
        reason, said = _said(error)
        raise UnderstudyError(where="Google: credentials", found=f"{where}: {reason}: {said}", todo=_LOG_IN) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(where, type(error).__name__) from None
    return Account(project=project, token=token, address=address)


def _credentials(environment: Mapping[str, str], home: Path) -> tuple[str, Any]:
    """Return where the credentials are from, and what stands in them."""
    given = environment.get("GOOGLE_CREDENTIALS", "")
    if given.lstrip().startswith("{"):
        where, text = "GOOGLE_CREDENTIALS", given
    else:
        folder = environment.get("CLOUDSDK_CONFIG")
        usual = (Path(folder) if folder else home / ".config" / "gcloud") / "application_default_credentials.json"
        path = Path(given or environment.get("GOOGLE_APPLICATION_CREDENTIALS") or usual)
        where = str(path)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UnderstudyError(
                where="Google: credentials", found=f"none: no {path}", wanted=_WHO, todo=_LOG_IN
            ) from None
        except (OSError, ValueError) as error:
            raise _unusable(where, type(error).__name__) from None
    try:
        told = json.loads(text)
    except ValueError as error:
        raise _unusable(where, type(error).__name__) from None
    if not isinstance(told, dict) or not isinstance(told.get("type"), str):
        raise _unusable(where, "it says no type")
    return where, told


def _unusable(where: str, why: str) -> UnderstudyError:
    found = f"{where} cannot be used: {why}"
    return UnderstudyError(where="Google: credentials", found=found, wanted=_WHO, todo=_LOG_IN)


def _token_question(told: Mapping[str, Any], tokens: str) -> dict[str, str] | None:
    """Return what is said for a token; None for a type of credentials that is not known here."""
    if told["type"] == "authorized_user":
        keys = ("client_id", "client_secret", "refresh_token")
        return {"grant_type": "refresh_token", **{key: str(told[key]) for key in keys}}
    if told["type"] != "service_account":
        return None
    now = int(time.time())
    claims = {"iss": told["client_email"], "scope": _SCOPE, "aud": tokens, "iat": now, "exp": now + _GOOD_SECONDS}
    head = {"alg": "RS256", "typ": "JWT", "kid": told["private_key_id"]}
    text = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims))
    key = load_pem_private_key(told["private_key"].encode(), None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("another key than RSA's")
    signature = urlsafe_b64encode(key.sign(text, padding.PKCS1v15(), SHA256())).rstrip(b"=")
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    return {"grant_type": grant, "assertion": (text + b"." + signature).decode()}


def _said(error: HTTPError) -> tuple[str, str]:
    """Return the reason and the first line of a refusal; what gives tokens says them otherwise."""
    try:
        told = json.loads(error.read())
        if not isinstance(told["error"], dict):
            return str(told["error"]), str(told.get("error_description") or error.reason)
        inner = told["error"]
        reasons = [each.get("reason") for each in inner.get("errors") or () if each.get("reason")]
        return str((reasons or [error.code])[0]), str(inner.get("message", error.reason)).partition("\n")[0]
    except (ValueError, AttributeError, KeyError, TypeError):
        return str(error.code), str(error.reason)
