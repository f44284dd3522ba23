"""`python -m tools.cost`: the tables of docs/cost.md, from prices and volumes in docs/cost.json."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).resolve().parent.parent / "docs" / "cost.json"
# What Azure Monitor calls a GB: https://learn.microsoft.com/azure/azure-monitor/logs/cost-logs
_BYTES_OF_GB: Final = 10**9

# The rows of a month's table, with the keys of `month`.
ROWS: Final = {
    "baseline": "always-ready instances, baseline",
    "delivery_time": "execution time of deliveries, at most",
    "timer_time": "execution time of timers",
    "executions": "number of executions",
    "queue_operations": "operations on queues",
    "queue_capacity": "messages on queues",
    "logs": "lines that the app logs",
    "alerts": "alert rules",
    "sum": "**sum**",
    "grants": "free grants, if nothing else uses them",
    "to_pay": "**to pay**",
}


def month(
    data: Mapping[str, Any], pushes_a_day: int, *, zonal: bool = False, **changes: int
) -> dict[str, float]:
    """What a month costs, by meter, with the volumes that have no row of their own.

    Args:
        data: What docs/cost.json has.
        pushes_a_day: The number of deliveries.
        zonal: Whether the plan is zone-redundant.
        changes: What differs from the `deployment` in `data`.

    """
    price = {name: each["price"] for name, each in data["prices"].items()}
    deployed = data["deployment"] | changes
    free, assumed, measured = data["free"], data["assumed"], data["measuredBytes"]
    hours = data["hoursAMonth"]

    pushes = pushes_a_day * hours / 24
    runs = deployed["timerRunsAnHour"] * hours
    timer_runs = deployed["timers"] * runs
    # The scaling groups are http and each timer.
    least = deployed["alwaysReadyOfZonalGroup"] if zonal else 0
    always_ready = max(deployed["alwaysReady"], least) + deployed["timers"] * least

    gb = deployed["instanceMemoryMb"] / 1024
    delivery_gb_seconds = pushes * deployed["leastBilledSeconds"] * gb
    timer_gb_seconds = timer_runs * deployed["leastBilledSeconds"] * gb
    # On-demand instances execute what no always-ready instance does.
    on_demand_gb_seconds = on_demand_runs = 0.0
    if not zonal:
        on_demand_gb_seconds, on_demand_runs = timer_gb_seconds, timer_runs
    if not always_ready:
        on_demand_gb_seconds += delivery_gb_seconds
        on_demand_runs += pushes

    operations = pushes * assumed["queueOperationsOfPush"] + (
        runs * deployed["queues"] * assumed["queueOperationsOfDepth"]
    )
    waiting_bytes = pushes_a_day * assumed["daysOnQueue"] * measured["message"]
    log_bytes = pushes * measured["deliveryLine"] + runs * (
        deployed["queues"] * measured["queueLine"]
        + deployed["webhooks"] * measured["reconcileLine"]
    )
    log_gb = log_bytes / _BYTES_OF_GB

    costs = {
        "baseline": always_ready * hours * 3600 * gb * price["alwaysReadyBaseline"],
        "delivery_time": delivery_gb_seconds
        * price["alwaysReadyTime" if always_ready else "onDemandTime"],
        "timer_time": timer_gb_seconds * price["alwaysReadyTime" if zonal else "onDemandTime"],
        "executions": (pushes + timer_runs) / 1e6 * price["executions"],
        "queue_operations": operations / 1e4 * price["queueOperations"],
        "queue_capacity": waiting_bytes / _BYTES_OF_GB * price["queueCapacity"],
        "logs": log_gb * price["logs"],
        "alerts": deployed["alertRules"] * price["alertRule"]
        + deployed["furtherAlertSeries"] * price["alertSeries"],
    }
    total = sum(costs.values())
    grants = (
        min(on_demand_gb_seconds, free["onDemandGbSeconds"]) * price["onDemandTime"]
        + min(on_demand_runs, free["onDemandExecutions"]) / 1e6 * price["executions"]
        + min(log_gb, free["logGb"]) * price["logs"]
    )
    return {
        **costs,
        "sum": total,
        "grants": grants,
        "to_pay": total - grants,
        "always_ready": always_ready,
        "log_gb": log_gb,
        # What 1,000 bytes more in the log for each execution cost.
        "log_of_1000_bytes": (pushes + timer_runs) * 1000 / _BYTES_OF_GB * price["logs"],
        "private_storage": deployed["privateEndpoints"] * hours * price["privateEndpoint"]
        + deployed["privateZones"] * price["privateZone"],
    }


def tables(data: Mapping[str, Any]) -> dict[str, str]:
    """The tables of docs/cost.md, by name."""
    numbers = data["pushesADay"]
    header = ["pushes a day", *(f"{number:,}" for number in numbers)]

    def months(**changes: Any) -> list[dict[str, float]]:
        return [month(data, number, **changes) for number in numbers]

    def paid(name: str, **changes: Any) -> list[str]:
        return [name, *(_money(each["to_pay"]) for each in months(**changes))]

    default = months()
    private = [_money(each["to_pay"] + each["private_storage"]) for each in default]
    return {
        "month": _table(
            header,
            *([row, *(_money(each[key]) for each in default)] for key, row in ROWS.items()),
        ),
        "options": _table(
            header,
            paid("the defaults"),
            paid("`ACR_INSTANCE_MEMORY_MB` 512", instanceMemoryMb=512),
            paid("`ACR_INSTANCE_MEMORY_MB` 4096", instanceMemoryMb=4096),
            paid("`ACR_ALWAYS_READY` 0", alwaysReady=0),
            paid("`ACR_ALWAYS_READY` 2", alwaysReady=2),
            paid("`ACR_ZONE_REDUNDANT` true", zonal=True),
            ["`ACR_VNET_ENABLED` true", *private],
        ),
        "logs": _table(
            header,
            ["GB that the app logs", *(f"{each['log_gb']:,.3f}" for each in default)],
            [
                "USD for 1,000 bytes more for each execution",
                *(_money(each["log_of_1000_bytes"]) for each in default),
            ],
        ),
        "prices": _table(
            ["meter", "USD", "for each", "region", "source", "date of the source"],
            *_prices(data["prices"]),
        ),
    }


def _prices(prices: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for each in prices.values():
        amount = f"{each['price']:.6f}".rstrip("0")
        meter = f"[{each['meter']}]({each['check']})"
        host, *path = each["source"].removeprefix("https://").split("/")
        name = "/".join(path[:2]) if host == "github.com" else host
        source = f"[{name}]({each['source']})"
        yield [meter, amount, each["per"], each["region"], source, each["date"]]


def _money(amount: float) -> str:
    return f"{amount:,.2f}"


def _table(*rows: Sequence[str]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    print("\n\n".join(tables(json.loads(DATA.read_bytes())).values()))
