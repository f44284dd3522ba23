"""The region of a geo-replicated registry in which an event was raised."""

import re

from shared.core.problems import Kind, Problem
from shared.core.text import quoted

# The endpoint of one replica: <name>.<region>.geo.<suffix>. Each cloud has a suffix of its own,
# which can have more than two labels. What has another form is no regional endpoint.
# https://learn.microsoft.com/azure/container-registry/container-registry-geo-replication
_REGIONAL_ENDPOINT = re.compile(r"([^.]+)\.([a-z0-9]+)\.geo\.([^.]+(?:\.[^.]+)+)")

# The name of a region, as in `az account list-locations`: letters and digits. Names are shorter
# than this; a longer one is a mistake.
_REGION = re.compile(r"[A-Za-z0-9]{1,64}")


def split_endpoint(host: str) -> tuple[str, str | None]:
    """The login server of `host` in lower case, and the region where it is a regional endpoint.

    `host` is a valid host name in any case, with or without a port.
    """
    server = host.partition(":")[0].lower()
    found = _REGIONAL_ENDPOINT.fullmatch(server)
    if found is None:
        return server, None
    name, region, suffix = found.groups()
    return f"{name}.{suffix}", region


def region(host: str | None, parameter: str | None) -> str | None:
    """The region of a delivery in lower case, None where it is unknown.

    `parameter` is that of the webhook's URL (`?region=`), which says where the webhook listens. An
    empty one counts as absent. It comes before `host`, the valid delivery's `request.host`: an
    image can be pushed through one region's endpoint and be replicated to another region.

    Raises Problem (422) where the parameter is no region.
    """
    if not parameter:
        return split_endpoint(host)[1] if host else None
    if not _REGION.fullmatch(parameter):
        raise Problem(
            Kind.INVALID_REGION,
            f"The region parameter of the webhook's URL: {quoted(parameter)} is not the name of a "
            "region. Use at most 64 letters and digits, as in westeurope.",
        )
    return parameter.lower()
