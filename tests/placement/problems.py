"""Random questions of placement, of any kind that a site could put."""

from __future__ import annotations

from random import Random

from model.capacity import InstanceType
from model.packing import Cloud, Need, OwnHost, Problem

_TYPES = tuple(
    InstanceType(
        name=f"t{size}",
        vcpus=1 << size,
        memory_mib=1024 << size,
        architecture="x86_64",
        price_per_month=7.5 * (1 << size),
        disk_price_per_gib_month=0.1,
    )
    for size in range(4)
)


def random_problem(random: Random, *, most_hosts: int = 5, most_machines: int = 10) -> Problem:
    """Return a question; often there is too little of something."""
    hosts = tuple(_host(random, f"h{number}") for number in range(random.randint(0, most_hosts)))
    clouds = tuple(
        Cloud(name=f"c{number}", budget_per_month=random.randint(1, 200), types=_TYPES[: random.randint(0, 4)])
        for number in range(random.choice((0, 0, 1, 2)))
    )
    needs = tuple(_need(random, f"m{number}") for number in range(random.randint(1, most_machines)))
    names = [need.name for need in needs]
    pairs = zip(names[::2], names[1::2], strict=False)
    places = [*(host.name for host in hosts), *(cloud.name for cloud in clouds)]
    return Problem(
        needs=needs,
        hosts=hosts,
        clouds=clouds,
        apart=tuple(pair for pair in pairs if random.randint(0, 2) == 0),
        before={name: random.choice(places) for name in names if places and random.randint(0, 1)},
    )


def _host(random: Random, name: str) -> OwnHost:
    cores = random.randint(1, 16)
    return OwnHost(
        name=name,
        cores=cores,
        vcpus=random.randint(0, 4 * cores),
        memory_mib=random.randint(0, 16_384),
        disk_mib=random.randint(0, 200_000),
        architecture=random.choice(("x86_64", "x86_64", "x86_64", "aarch64")),
        emulated=random.randint(0, 1) == 1,
    )


def _need(random: Random, name: str) -> Need:
    return Need(
        name=name,
        vcpus=random.randint(1, 8),
        memory_mib=random.choice((512, 1024, 2048, 4096, 8192)),
        disk_mib=random.randint(1000, 50_000),
        overhead_mib=random.choice((0, 192)),
        rented_disk_mib=random.randint(0, 50_000),
        architecture=random.choice(("x86_64",) * 7 + ("aarch64",)),
    )


def large_problem(seed: int, hosts: int = 20, machines: int = 60) -> Problem:
    """Return the question of a site with this many hosts and machines, which fits."""
    random = Random(seed)
    return Problem(
        needs=tuple(
            Need(
                name=f"m{number}",
                vcpus=random.choice((1, 1, 2, 4)),
                memory_mib=random.choice((512, 1024, 2048, 4096, 8192)) + 192,
                disk_mib=random.choice((10, 20, 50)) * 1024,
            )
            for number in range(machines)
        ),
        hosts=tuple(
            OwnHost(
                name=f"h{number}",
                cores=(cores := random.choice((4, 8, 16))),
                vcpus=4 * cores,
                memory_mib=random.choice((8, 16, 32, 64)) * 1024,
                disk_mib=random.choice((100, 200, 500)) * 1024,
                emulated=random.randint(0, 4) == 0,
            )
            for number in range(hosts)
        ),
        apart=tuple((f"m{number}", f"m{number + 1}") for number in range(0, machines // 3, 2)),
        before={},
    )
