"""The asset that is the vendor's list: replaced completely, and proven."""

import dagster as dg

from campaign_sync.assets.failures import explained
from campaign_sync.assets.metadata import Materialized, table
from campaign_sync.assets.ports import Ports
from campaign_sync.domain.checks import CheckOutcome
from campaign_sync.domain.rejection import ACCEPTED, VENDOR_REASONS
from campaign_sync.replacing.replace import Outcome
from campaign_sync.replacing.target import Target


def recipient_list_asset(target: Target) -> dg.AssetsDefinition:
    """The asset `[mandator, "recipient_list", list]`: gate, clear, fill, sweep, read back, proof."""
    mandator = target.mandator
    key = dg.AssetKey([mandator, "recipient_list", target.name])

    @dg.asset(
        key=key,
        group_name=mandator,
        kinds={"recipient_list", "soap"},
        deps=[dg.AssetKey([mandator, "snapshot", target.name])],
        description="The recipient list in Optimizely Campaign: cleared, filled completely, swept, read back, proven.",
        metadata={"recipient list id": str(target.recipient_list_id)},
        check_specs=[
            dg.AssetCheckSpec(
                "proof", asset=key, description="Read back, the list is exactly the snapshot without the rejected."
            )
        ],
    )
    def recipient_list(context: dg.AssetExecutionContext, ports: dg.ResourceParam[Ports]) -> Materialized:
        with explained(context) as watch:
            outcome = ports.replacer(mandator, context.run.run_id).replace(target)
        return dg.MaterializeResult(
            metadata={**_metadata(target, outcome), "seconds": watch.seconds},
            check_results=[
                dg.AssetCheckResult(
                    asset_key=key,
                    check_name="proof",
                    passed=outcome.proof.holds,
                    description=str(outcome.proof),
                    metadata={"expected": outcome.proof.expected, "in list": outcome.proof.in_list},
                )
            ],
        )

    return recipient_list


def _verdict(check: CheckOutcome) -> str:
    return "passed" if check.passed else "warning" if check.warning else "stops"


def _metadata(target: Target, outcome: Outcome) -> dict[str, dg.MetadataValue | int | float | str]:
    refused = {code: count for code, count in outcome.codes.items() if code != ACCEPTED}
    plotted = {
        f"refused: {VENDOR_REASONS[code].value}": count for code, count in refused.items() if code in VENDOR_REASONS
    }
    return {
        "dagster/row_count": outcome.proof.in_list,
        "sent": outcome.sent,
        "accepted": outcome.codes.get(ACCEPTED, 0),
        "refused": sum(refused.values()),
        **plotted,
        **{f"swept: {why}": count for why, count in outcome.swept.items()},
        "in list": outcome.proof.in_list,
        "proof": str(outcome.proof),
        "digest of the list": outcome.proof.digest,
        "batches": outcome.batches,
        "seconds incomplete": round(outcome.incomplete_for.total_seconds(), 3),
        "gate": table(
            {"check": check.name, "verdict": _verdict(check), "found": check.summary} for check in outcome.gate
        ),
        "journal": outcome.replace_id,
        "recipient list id": str(target.recipient_list_id),
    }
