"""Whether somebody who may ask Google for machines is known here. Google itself tells of quota and image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from model.errors import UnderstudyError

_TODO = "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key's file."


def examine(environment: Mapping[str, str], home: Path) -> None:
    """See that there are credentials that Pulumi's plugin for Google finds.

    Args:
        environment: the process's.
        home: the user's home directory.

    Raises:
        UnderstudyError: there are none, or they cannot be read.

    Source: Google, "How Application Default Credentials works"; Pulumi, "Google Cloud: installation and configuration".
    """
    if environment.get("GOOGLE_OAUTH_ACCESS_TOKEN") or environment.get("GOOGLE_CREDENTIALS"):
        return
    folder = environment.get("CLOUDSDK_CONFIG")
    usual = (Path(folder) if folder else home / ".config" / "gcloud") / "application_default_credentials.json"
    path = Path(environment.get("GOOGLE_APPLICATION_CREDENTIALS") or usual)
    try:
        kind = json.loads(path.read_text(encoding="utf-8"))["type"]
    except FileNotFoundError:
        found = f"none: no {path}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{path} cannot be used: {type(error).__name__}"
    else:
        if isinstance(kind, str):
            return
        found = f"{path} cannot be used: its type is no text"
    raise UnderstudyError(
        where="Google: credentials", found=found, wanted="those of somebody who may make machines", todo=_TODO
    )
