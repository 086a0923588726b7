"""The sample company: `test_prod.py` builds its prod and, beside it, its stage, with which `test_stage.py` goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.site import Site


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("company"))
    yield site
    site.end(site.stage, site.prod)


@pytest.fixture(scope="session")
def first(company: Site) -> str:
    """Make the stage, whether its prod runs or was never built; return what `up` printed."""
    return company.pulumi("up", company.stage)
