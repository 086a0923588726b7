"""What a stack cannot have in its clouds is refused in a preview already, without a word to any cloud."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import metadata
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from cli import clouds
from cli.clouds import refuse_unfit_clouds
from model.cloud import CloudSettings
from model.environment import Environment, Settings
from model.errors import UnderstudyError
from model.placement import PlacedHost, Placement
from model.rented import GOOGLE_IMAGE
from provisioners.clouds import aws, azure, azure_account, google
from provisioners.clouds.google_account import Account
from tests.clouds.test_subscription import PAYS
from tests.model.test_prices import ROOT, placed

OPEN = Settings(cloud=CloudSettings(ssh_from=(IPv4Network("203.0.113.7/32"),)))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "prices", tmp_path / "prices")
    return tmp_path


def refuse(project: Path, stack: tuple[Environment, Placement], settings: Settings = OPEN) -> None:
    environment, placement = stack
    refuse_unfit_clouds(project, replace(environment, settings=settings), placement, lambda _: None, account=False)


def test_what_fits_is_not_refused(project: Path) -> None:
    refuse(project, placed("t3.micro"))


def test_nobody_could_get_in(project: Path) -> None:
    with pytest.raises(UnderstudyError, match=r"Pulumi\.dr\.yaml: cloud\.ssh_from: nothing; .*checkip"):
        refuse(project, placed(), Settings())


def test_google_is_asked_with_the_project_that_pays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "_refuse_no_plugin", lambda *_: None)
    asked, said = list[tuple[object, ...]](), list[str]()
    monkeypatch.setattr(google, "examine", lambda *given: asked.append(given))
    environment, placement = placed("e2-small", PlacedHost(name="rented", kind="gcp", region="europe-west3"))
    with pytest.raises(UnderstudyError, match=r"Pulumi\.dr\.yaml: cloud\.project: nothing; .*gcloud projects list"):
        refuse_unfit_clouds(project, replace(environment, settings=OPEN), placement, said.append, account=True)
    pays = replace(environment, settings=replace(OPEN, cloud=replace(OPEN.cloud, project="shop-dr")))
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "a-token")
    refuse_unfit_clouds(project, pays, placement, said.append, account=True)
    ((account, region, image, wanted, *_, elsewhere),) = asked
    assert (account, region, image) == (Account(project="shop-dr", token="a-token"), "europe-west3", GOOGLE_IMAGE)
    assert (wanted, elsewhere) == ({"e2-small": (1, 2)}, 0)
    far = replace(placement.hosts[0], name="far", region="europe-west1")
    more = replace(placement.machines[0], name="db2", host="far")
    both = replace(placement, hosts=(*placement.hosts, far), machines=(*placement.machines, more))
    asked.clear()
    refuse_unfit_clouds(project, pays, both, said.append, account=True)
    assert [(given[1], given[-1]) for given in asked] == [("europe-west3", 2), ("europe-west1", 2)]
    asked.clear()

    monkeypatch.delenv("GOOGLE_OAUTH_ACCESS_TOKEN")
    monkeypatch.setenv("GOOGLE_CREDENTIALS", '{"type": "external_account"}')
    refuse_unfit_clouds(project, pays, placement, said.append, account=True)
    assert (len(asked), said) == (
        0,
        ["Google europe-west3: its plugin alone can use these credentials; nothing is looked at"],
    )


def test_azure_is_asked_with_the_subscription_that_pays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "_refuse_no_plugin", lambda *_: None)
    monkeypatch.setattr(azure_account, "log_in", lambda subscription, _: subscription)
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(azure, "examine", lambda *given: asked.append(given[:-1]))
    host = PlacedHost(name="rented", kind="azure", region="westeurope")
    environment, placement = placed("Standard_B2s", host)
    with pytest.raises(UnderstudyError, match=r"Pulumi\.dr\.yaml: cloud\.subscription: nothing; .*az account list"):
        refuse_unfit_clouds(project, replace(environment, settings=OPEN), placement, lambda _: None, account=True)
    pays = replace(OPEN, cloud=replace(OPEN.cloud, subscription=PAYS))
    refuse_unfit_clouds(project, replace(environment, settings=pays), placement, lambda _: None, account=True)
    ((account, *rest, owner),) = asked
    assert (account, rest) == (PAYS, ["westeurope", None, {"Standard_B2s": 2}])
    assert str(owner).startswith("understudy-dr-")


def test_what_a_region_has_is_for_all_hosts_there_together(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clouds, "_refuse_no_plugin", lambda *_: None)
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(aws, "examine", lambda *given: asked.append((given[0], given[3], *given[6:])))
    environment, placement = placed("t3.micro")
    (one,), (near,) = placement.machines, placement.hosts
    hosts = (near, replace(near, name="beside"), replace(near, name="far", region="eu-west-1"))
    machines = tuple(replace(one, name=f"m{at}", host=hosts[min(at, 2)].name) for at in range(4))
    placement = replace(placement, machines=machines, hosts=hosts)
    refuse_unfit_clouds(project, replace(environment, settings=OPEN), placement, lambda _: None, account=True)
    ssh, itself = 1, 1
    assert asked == [
        (near.region, {"t3.micro": 4}, 2, ssh + itself + 3),
        (near.region, {"t3.micro": 4}, 2, ssh + itself + 3),
        ("eu-west-1", {"t3.micro": 4}, 2, ssh + itself + 2),
    ]


def test_without_pulumis_plugin_an_update_is_not_begun(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined: list[str] = []
    monkeypatch.setattr(clouds, "_examine", lambda *given: examined.append(given[3].name))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi"))
    monkeypatch.setenv("PATH", str(tmp_path))
    environment, placement = placed()
    environment = replace(environment, settings=OPEN)
    with pytest.raises(UnderstudyError, match=r"pulumi plugin install resource aws v\d+\.\d+\.\d+"):
        refuse_unfit_clouds(project, environment, placement, lambda _: None, account=True)
    assert examined == []
    version = metadata.version("pulumi-aws")
    (tmp_path / "pulumi" / "plugins" / f"resource-aws-v{version}").mkdir(parents=True)
    refuse_unfit_clouds(project, environment, placement, lambda _: None, account=True)
    assert examined == ["rented"]
