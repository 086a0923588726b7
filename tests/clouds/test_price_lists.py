"""`understudy prices --refresh` against services on loopback that answer in the clouds' own shapes."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from cli.__main__ import main
from cli.prices import refresh
from components.price_tables import read_price_table
from model.errors import UnderstudyError
from provisioners.clouds import price_lists

ROOT = Path(__file__).parents[2]
HEAD = (
    "SKU,TermType,Unit,PricePerUnit,Currency,Instance Type,Tenancy,Operating System,CapacityStatus,Pre Installed S/W,"
    "Product Family,Volume API Name"
)
METADATA = (
    '"FormatVersion","v1.0"\n"Disclaimer","x"\n"Publication Date","2026-11-20T00:00:00Z"\n'
    '"Version","1"\n"OfferCode","AmazonEC2"\n'
)
ROWS = (
    "A,OnDemand,Hrs,0.0250000000,USD,t3.small,Shared,Linux,Used,NA,Compute Instance,",
    "A,OnDemand,Hrs,0.0000000000,USD,t3.small,Shared,Linux,AllocatedCapacityReservation,NA,Compute Instance,",
    "A,Reserved,Hrs,0.0150000000,USD,t3.small,Shared,Linux,Used,NA,Compute Instance,",
    "A,OnDemand,Hrs,0.0450000000,USD,t3.small,Shared,Windows,Used,NA,Compute Instance,",
    "A,OnDemand,Hrs,0.0280000000,USD,t3.small,Dedicated,Linux,Used,NA,Compute Instance,",
    "A,OnDemand,Hrs,0.1500000000,USD,t3.small,Shared,Linux,Used,SQL Std,Compute Instance,",
    "B,OnDemand,Hrs,9.0000000000,USD,x9.huge,Shared,Linux,Used,NA,Compute Instance,",
    "C,OnDemand,GB-Mo,0.0999000000,USD,,,,,,Storage,gp3",
    "D,OnDemand,GB-Mo,0.1190000000,USD,,,,,,Storage,gp2",
)
B2S = {
    "armSkuName": "Standard_B2s",
    "retailPrice": 0.05,
    "unitOfMeasure": "1 Hour",
    "currencyCode": "USD",
    "type": "Consumption",
    "productName": "Virtual Machines BS Series",
    "skuName": "B2s",
    "meterName": "B2s",
}
Answer = Callable[[str, str], str | None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Return what starts a service that answers with a text for each path, or with 404."""
    servers: list[HTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = answer(unquote(self.path), f"http://127.0.0.1:{server.server_port}")
                self.send_response(200 if text is not None else 404)
                self.end_headers()
                self.wfile.write((text or "").encode())

            def log_message(self, *_: object) -> None: ...

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "prices", tmp_path / "prices")
    (tmp_path / "Pulumi.yaml").write_text("name: understudy\n")
    return tmp_path


def aws(path: str, _: str) -> str | None:
    if path != "/offers/v1.0/aws/AmazonEC2/current/eu-central-1/index.csv":
        return None
    return METADATA + "\n".join((HEAD, *ROWS)) + "\n"


def test_aws(project: Path, serve: Callable[[Answer], str], capsys: pytest.CaptureFixture[str]) -> None:
    address = serve(aws)
    refresh(project, "aws", "eu-central-1", address)
    region = read_price_table(project, "aws").regions["eu-central-1"]
    assert region.hour == {"t3.small": 0.025}, "on demand, Linux, shared, nothing installed, and no other line"
    assert (region.disk_gib_month, region.address_hour, region.source) == (0.0999, 0.005, address)
    assert region.date > "2026-01-01"
    assert capsys.readouterr().out == "eu-central-1 t3.small: 0.024 -> 0.025 an hour\n"
    text = (project / "prices/aws.yaml").read_text()
    assert text.startswith("# What AWS asks")
    refresh(project, "aws", "eu-central-1", address)
    assert capsys.readouterr().out == ""
    assert (project / "prices/aws.yaml").read_text() == text


def test_azure_over_several_pages(project: Path, serve: Callable[[Answer], str]) -> None:
    def azure(path: str, own: str) -> str | None:
        assert "armRegionName eq 'polandcentral'" in path or path == "/next"
        if path == "/next":
            return json.dumps({"Items": [{**B2S, "armSkuName": "Standard_B2ms", "retailPrice": 0.1}]})
        items = [
            {**B2S, "retailPrice": 0.01, "skuName": "B2s Spot"},
            {**B2S, "retailPrice": 0.09, "productName": "Virtual Machines BS Series Windows"},
            B2S,
            {**B2S, "armSkuName": "Standard_Z9"},
        ]
        return json.dumps({"Items": items, "NextPageLink": f"{own}/next"})

    refresh(project, "azure", "polandcentral", serve(azure))
    assert read_price_table(project, "azure").regions["polandcentral"].hour == {
        "Standard_B2ms": 0.1,
        "Standard_B2s": 0.05,
    }


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        ("aws", lambda path, own: None, "404"),
        ("aws", lambda path, own: METADATA + HEAD + "\n", "none of "),
        ("aws", lambda path, own: "<html>maintenance</html>", "none of "),
        ("azure", lambda path, own: "<html>", "JSONDecodeError"),
        ("azure", lambda path, own: '{"Items": [], "NextPageLink": "http://elsewhere.example/"}', "elsewhere.example"),
        ("azure", lambda path, own: f'{{"Items": [], "NextPageLink": "{own}/again"}}', "more than 200 pages"),
    ],
)
def test_what_cannot_be_read_leaves_the_table_alone(
    project: Path, serve: Callable[[Answer], str], kind: str, answer: Answer, told: str
) -> None:
    before = (project / f"prices/{kind}.yaml").read_text()
    with pytest.raises(UnderstudyError, match=told):
        refresh(project, kind, "eu-central-1", serve(answer))
    assert (project / f"prices/{kind}.yaml").read_text() == before


def test_without_a_network_and_without_a_list(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnderstudyError, match=r"URLError.*Is there a network"):
        refresh(project, "aws", "eu-central-1", "http://127.0.0.1:9")
    with pytest.raises(UnderstudyError, match=r"no list that everybody can read.*prices/gcp\.yaml by hand"):
        refresh(project, "gcp", "europe-west3")
    assert set(price_lists.ADDRESSES) == {"aws", "azure"}


def test_the_command_shows_a_region(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "aws", "eu-central-1", "--cwd", str(project)]) == 0
    shown = capsys.readouterr().out
    assert "a GiB of disk: 0.0952" in shown
    assert f"{(0.006 + 0.005) * 730:.2f}" in shown.splitlines()[2]
    assert main(["prices", "aws", "../x", "--cwd", str(project)]) == 1
    assert main(["prices", "aws", "eu-middle-1", "--cwd", str(project)]) == 1
    assert "prices --refresh aws eu-middle-1" in capsys.readouterr().err
