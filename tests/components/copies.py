"""A stack that is filled from an off-site copy, and whose load balancer everybody reaches, as a graph."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

from components.site import Site
from model.offsite import OffsiteCopy, OffsiteStore


def filled_from_copy(found: Site, *networks: str, endpoint: str = "") -> Site:
    """Return the same stack, filled from a copy beside the cloud ``rented``, and open at two ports of ``lb``."""
    store = OffsiteStore(store="shop", bucket="s3://copy/prod", region="eu-central-1", endpoint=endpoint)
    where = tuple(IPv4Network(network) for network in networks)
    copy = OffsiteCopy(host="rented", stores=(store,), profile="reader", networks=where)
    settings = found.environment.settings
    cloud = replace(settings.cloud, open=(("lb", (80, 443)),))
    environment = replace(found.environment, settings=replace(settings, offsite=(copy,), cloud=cloud))
    return replace(found, environment=environment.at_copy("rented"))
