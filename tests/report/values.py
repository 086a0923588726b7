"""Documents and drills for the tests of the report."""

from __future__ import annotations

from typing import Any

CHECKS: list[dict[str, Any]] = [
    {"name": "accepts connections", "ok": True, "detail": "PostgreSQL 15.8", "seconds": 0.2},
    {"name": "heartbeat", "ok": True, "detail": "newest row 2026-11-23 01:58:41 UTC", "seconds": 0.04},
]
PAGES: list[dict[str, Any]] = [
    {"name": "front", "ok": True, "detail": "200", "seconds": 0.3},
    {"name": "front-without-app1", "ok": True, "detail": "200, from app2", "seconds": 2.1},
]


def machine(name: str, address: str, role: str, **more: Any) -> dict[str, Any]:
    """Return a machine as a document has it."""
    usual = {"vcpus": 1, "memory_mib": 512, "system_disk_mib": 8192, "host": "this machine", "backend": "libvirt"}
    started = {"control_address": "198.18.0.10", "started": "warm", "boot_seconds": 7.5}
    return {"name": name, "address": address, "roles": [role], **usual, **started, **more}


def restore(**more: Any) -> dict[str, Any]:
    """Return a good restore."""
    usual = {
        "store": "shop",
        "engine": "postgresql",
        "version": "15",
        "machine": "db1",
        "snapshot": "20261123-010002F",
        "taken_at": "2026-11-23T01:00:02Z",
        "data_age_seconds": 93.0,
        "restore_seconds": 12.5,
        "checks": CHECKS,
        "system_identifier": "7711570921831450625",
    }
    return {**usual, **more}


def document(**more: Any) -> dict[str, Any]:
    """Return the stage of the sample company, all green."""
    usual = {
        "stack": "stage",
        "mirror_of": "prod",
        "domain": "shop.example",
        "network": "10.20.0.0/24",
        "machines": [
            machine("lb", "10.20.0.10", "load balancer", services=["haproxy"]),
            machine("app1", "10.20.0.21", "application", services=["app"]),
            machine("app2", "10.20.0.22", "application", services=["app"], spare=True),
            machine("db1", "10.20.0.31", "primary", data_disk_mib=2048),
            machine(
                "db2", "10.20.0.32", "replica", started="cold", started_reason="another processor", boot_seconds=34.1
            ),
        ],
        "arrows": [
            {"source": "lb", "target": "app1", "kind": "requests"},
            {"source": "lb", "target": "app2", "kind": "requests", "spare": True},
            {"source": "app1", "target": "db1", "kind": "queries"},
            {"source": "app2", "target": "db1", "kind": "queries", "spare": True},
            {"source": "db1", "target": "db2", "kind": "replication"},
        ],
        "restores": [restore()],
        "checks": PAGES,
        "notes": ["Processors are emulated."],
    }
    return {**usual, **more}


def drill(day: int, **more: Any) -> dict[str, Any]:
    """Return a green drill of a day in November."""
    usual = {
        "at": f"2026-11-{day:02}T02:00:00Z",
        "stack": "stage",
        "recovery_seconds": 61.0 + day,
        "restores": [restore(snapshot=f"202611{day:02}-010002F")],
        "checks": PAGES,
    }
    return {**usual, **more}


def large() -> dict[str, Any]:
    """Return an environment of fifty machines with long names."""
    balancers = [machine(f"lb{n}", f"10.0.0.{n}", "load balancer") for n in range(1, 4)]
    workers = [machine(f"web{n}", f"10.0.1.{n}", "web", spare=n > 30) for n in range(1, 41)]
    long = "with-a-name-as-long-as-it-can"
    stores = [machine(f"d{n}-{long}", f"10.0.2.{n}", "primary", existing=True) for n in range(1, 4)]
    stores += [machine(f"r{n}", f"10.0.3.{n}", "replica") for n in range(1, 4)]
    arrows = [{"source": b["name"], "target": w["name"], "kind": "requests"} for b in balancers for w in workers]
    arrows += [{"source": w["name"], "target": f"d1-{long}", "kind": "queries"} for w in workers]
    return document(machines=[*balancers, *workers, *stores, machine("mail", "10.0.9.9", "mail")], arrows=arrows)
