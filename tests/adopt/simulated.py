"""A machine as the product builds it, answering the questions of `adopt` without being there."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from model.topology import Access, Machine, Store, Topology
from provisioners.facts import mariadb, postgresql_sql
from provisioners.facts.fact import NoAnswerError, Question

GIB = 1024**3
MIB = 1024**2

POSTGRESQL_NUMBERS = {"9.6": "90624"}


def smbios(*sizes_mib: int) -> str:
    """Return an SMBIOS table in base64 with memory devices of these sizes; 0 is an empty slot."""
    table = bytes([0, 4, 0, 0]) + b"vendor\0\0"
    for size in sizes_mib:
        body = bytearray(0x22 - 4)
        struct.pack_into("<H", body, 0x0C - 4, min(32767, size))
        struct.pack_into("<I", body, 0x1C - 4, size)
        table += bytes([17, 0x22, 1, 0]) + bytes(body) + b"DIMM 0\0\0"
    table += bytes([127, 4, 0, 0]) + b"\0\0"
    return base64.b64encode(table).decode()


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """One machine of a topology.

    Args:
        topology: whose machine it is.
        machine: which one.
        units: the units of each service of the site.
        files: the files of each service of the site that runs no unit.
        control: its number in the control network.
    """

    topology: Topology
    machine: Machine
    units: Mapping[str, tuple[str, ...]]
    files: Mapping[str, tuple[str, ...]]
    control: int = 10
    asked: list[Question] = field(default_factory=list)

    @property
    def access(self) -> Access:
        """Return how it is reached: through its other card."""
        return Access(host=f"198.18.0.{self.control}", user="admin", sudo=True)

    def answer(self, question: Question) -> str:
        """Return what the question's command prints.

        Raises:
            NoAnswerError: there is no such program or file.
        """
        self.asked.append(question)
        program = question.argv[0]
        answers: dict[str, Callable[[], str]] = {
            "psql": lambda: self._psql(question),
            "mysql": lambda: self._mysql(question),
            "uname": lambda: self.machine.name,
            "hostname": lambda: f"{self.machine.name}.{self.topology.domain}",
            "getconf": lambda: f"{self.machine.vcpus}\n",
            "base64": lambda: smbios(self.machine.memory_mib),
            "lsblk": self._lsblk,
            "df": lambda: self._df(question),
            "ip": self._ip,
            "ss": lambda: self._ss(question),
            "systemctl": lambda: self._systemctl(question),
            "grep": lambda: self._grep(question),
            "ls": lambda: self._ls(question),
            "cat": lambda: self._cat(question.argv[-1]),
        }
        if program not in answers:
            raise NoAnswerError(f"env: '{program}': No such file or directory")
        return answers[program]()

    def _stores(self, engine: str) -> list[Store]:
        return [
            store
            for store in self.topology.stores
            if store.engine == engine and self.machine.name in (store.primary, *store.replicas)
        ]

    def _cat(self, path: str) -> str:
        if path == "/proc/meminfo":
            kernel_keeps = self.machine.memory_mib // 64 + 20
            return f"MemTotal:  {(self.machine.memory_mib - kernel_keeps) * 1024} kB\nMemFree:  1 kB\n"
        if path == "/etc/os-release":
            return 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
        assert path == "/etc/hosts"
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
        lines += [f"{each.address} {each.name}.{self.topology.domain} {each.name}" for each in self.topology.machines]
        return "\n".join(lines)

    def _ls(self, question: Question) -> str:
        there = {path for name in self.machine.services for path in self.files.get(name, ())}
        return "".join(f"{path}\n" for path in question.argv[3:] if path in there)

    def _lsblk(self) -> str:
        rows = ['NAME="sr0" KNAME="sr0" TYPE="rom" SIZE="1073741312" FSTYPE="" MOUNTPOINT="" PKNAME=""']
        size = self.machine.system_disk_mib * MIB
        rows.append(f'NAME="vda" KNAME="vda" TYPE="disk" SIZE="{size}" FSTYPE="ext4" MOUNTPOINT="/" PKNAME=""')
        if self.machine.data_disk_mib:
            size = self.machine.data_disk_mib * MIB
            rows.append(f'NAME="vdb" KNAME="vdb" TYPE="disk" SIZE="{size}" FSTYPE="ext4" MOUNTPOINT="/srv" PKNAME=""')
        return "\n".join(rows)

    def _df(self, question: Question) -> str:
        head = "Filesystem Type 1B-blocks Used Mounted on\n"
        system = f"/dev/vda ext4 {self.machine.system_disk_mib * MIB * 15 // 16} 900000000 /\n"
        data = f"/dev/vdb ext4 {self.machine.data_disk_mib * MIB * 15 // 16} 90000000 /srv\n"
        if question.argv[-1].startswith("/srv/"):
            return head + data
        return head + "tmpfs tmpfs 100000 0 /run\n" + system + (data if self.machine.data_disk_mib else "")

    def _ip(self) -> str:
        end = "valid_lft forever preferred_lft forever"
        network = self.topology.network
        own = f"{self.machine.address}/{network.prefixlen}"
        return "\n".join(
            (
                f"1: lo    inet 127.0.0.1/8 scope host lo\\       {end}",
                f"2: eth0    inet 198.18.0.{self.control}/24 brd 198.18.0.255 scope global eth0\\       {end}",
                f"3: eth1    inet {own} brd {network.broadcast_address} scope global eth1\\       {end}",
                f"3: eth1    inet6 fe80::5054:ff:fe12:3456/64 scope link \\       {end}",
            )
        )

    def _ss(self, question: Question) -> str:
        if "-xlnp" in question.argv:
            return "".join(
                "u_str LISTEN 0 244 /run/postgresql/.s.PGSQL.5432 144 * 0\n" for _ in self._stores("postgresql")
            )
        lines = ["State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess"]
        ports = [(22, "sshd")]
        ports += [(80, "haproxy")] if "haproxy" in self.machine.services else []
        ports += [(8000, "python3")] if "app" in self.machine.services else []
        ports += [(5432, "postgres") for _ in self._stores("postgresql")]
        ports += [(3306, "mariadbd") for _ in self._stores("mariadb")]
        for port, name in ports:
            lines.append(f'LISTEN 0      244     0.0.0.0:{port}   0.0.0.0:*    users:(("{name}",pid=7,fd=5))')
            lines.append(f'LISTEN 0      244        [::]:{port}      [::]:*    users:(("{name}",pid=7,fd=6))')
        return "\n".join(lines)

    def _unit_names(self) -> list[str]:
        names = ["ssh.service", "rsyslog.service", "systemd-networkd.service", "understudy-identity.service"]
        names += ["postgresql@15-shop.service"] if self._stores("postgresql") else []
        names += ["mariadb.service"] if self._stores("mariadb") else []
        return names + [unit for service in self.machine.services for unit in self.units[service]]

    def _systemctl(self, question: Question) -> str:
        if question.argv[1] == "list-units":
            return "".join(f"{name} loaded active running A unit\n" for name in self._unit_names())
        ours = {unit for units in self.units.values() for unit in units}
        directories = {True: "/etc/systemd/system", False: "/lib/systemd/system"}
        return "\n".join(
            f"Id={name}\nDescription=A unit\nFragmentPath={directories[name in ours]}/{name}\n"
            for name in question.argv[question.argv.index("--") + 1 :]
        )

    def _grep(self, question: Question) -> str:
        if "/etc/haproxy" in question.argv:
            if "haproxy" not in self.machine.services:
                return ""
            behind = [each for each in self.topology.machines if "app" in each.services]
            servers = [f" server {each.name} {each.address}:8000 check" for each in behind]
            return "\n".join(["frontend web", "backend app", *servers])
        lines: list[str] = []
        for store in self._stores("postgresql"):
            if store.backup is None or store.backup.kind != "pgbackrest":
                continue
            lines.append("[global]")
            if store.backup.location.startswith("s3://"):
                bucket, _, prefix = store.backup.location.removeprefix("s3://").partition("/")
                endpoint = store.backup.endpoint or f"s3.{store.backup.region}.amazonaws.com"
                lines += ["repo1-type=s3", f"repo1-path=/{prefix}", f"repo1-s3-bucket={bucket}"]
                lines += [f"repo1-s3-endpoint={endpoint}", f"repo1-s3-region={store.backup.region}"]
            else:
                lines.append("repo1-path=/srv/pgbackrest")
            lines += [f"[{store.backup.stanza}]", "pg1-path=/srv/postgresql/current"]
        return "\n".join(lines)

    def _psql(self, question: Question) -> str:
        (store,) = self._stores("postgresql")
        statement = question.argv[-1].removeprefix("--command=")
        primary = self.topology.machine(store.primary)
        follows = self.machine.name != store.primary
        rows: list[Mapping[str, object]] = []
        if statement == _line(postgresql_sql.SETTINGS):
            number = POSTGRESQL_NUMBERS.get(store.version, f"{store.version}0008")
            stanza = store.backup.stanza if store.backup else None
            found = {
                "server_version_num": number,
                "data_directory": "/srv/postgresql/current",
                "cluster_name": "",
                "archive_command": stanza or None,
                "primary_conninfo": f"user=replicator host={primary.address} port=5432" if follows else "",
            }
            rows = [{"name": name, "setting": setting} for name, setting in found.items()]
        elif statement == _line(postgresql_sql.STATE):
            rows = [{"replica": follows}]
        elif statement == _line(postgresql_sql.IDENTIFIER):
            rows = [{"identifier": str(7_000_000_000 + int(primary.address))}]
        elif statement == _line(postgresql_sql.RECEIVER):
            conninfo = f"user=replicator password=******** host={primary.name} port=5432"
            rows = [{"status": "streaming", "conninfo": conninfo}] if follows else []
        elif statement == _line(postgresql_sql.FOLLOWERS):
            rows = [] if follows else [{"address": str(self.topology.machine(name).address)} for name in store.replicas]
        elif statement == _line(postgresql_sql.DATABASES):
            rows = [
                {"name": "postgres", "owner": "postgres", "bytes": 7_634_279},
                {"name": store.database, "owner": store.owner, "bytes": 9_000_000},
            ]
        elif statement == _line(postgresql_sql.TABLES):
            rows = self._tables(store) if f"dbname='{store.database}'" in question.argv[-2] else []
        return "".join(f"{json.dumps(row)}\n" for row in rows)

    def _tables(self, store: Store) -> list[Mapping[str, object]]:
        rows: list[Mapping[str, object]] = [
            {"schema": "public", "name": "empty", "owner": store.owner, "filled": False, "moments": []}
        ]
        for name in store.expected_tables:
            schema, _, table = name.rpartition(".")
            rows.append(
                {"schema": schema or "public", "name": table, "owner": store.owner, "filled": True, "moments": []}
            )
        if store.heartbeat is not None:
            schema, _, table = store.heartbeat.table.rpartition(".")
            moments = [store.heartbeat.column]
            rows.append(
                {"schema": schema or "public", "name": table, "owner": store.owner, "filled": True, "moments": moments}
            )
        return rows

    def _mysql(self, question: Question) -> str:
        stores = self._stores("mariadb")
        if not stores:
            raise NoAnswerError("ERROR 2002 (HY000): Can't connect to local server through socket")
        (store,) = stores
        statement = question.argv[-1].removeprefix("--execute=")
        if statement == mariadb.SERVER_QUERY:
            return f"{store.version}.6-MariaDB-0+deb12u1\t3306\t/srv/mariadb/current/\n"
        if statement == _line(mariadb.SIZES_QUERY):
            return f"{store.database}\t9000000\n"
        if statement == _line(mariadb.TABLES_QUERY):
            heartbeat = [f"{store.heartbeat.table}\t1\t{store.heartbeat.column}"] if store.heartbeat else []
            rows = [f"{name}\t7\t" for name in store.expected_tables] + ["empty\t0\t", *heartbeat]
            return "".join(f"{store.database}\t{row}\n" for row in rows)
        if statement == mariadb.GRANTS_QUERY:
            return f"{store.database}\t{store.owner}\n"
        return ""


def _line(statement: str) -> str:
    return " ".join(statement.split())
