"""The assets of a daily run, and what a run leaves: results of checks, rejections and withdrawals."""

import dagster as dg

from campaign_sync_tests.installation import ADDRESSES, Installation

Assets = list[tuple[str, ...]]

FEEDBACK: Assets = [("nord", name) for name in ("bounces", "unsubscribes", "suppression_state")]
PICK: Assets = [("nord", f"newsletter_{asset}") for asset in ("selection", "snapshot")]
REPLACE: Assets = [("nord", "newsletter_recipient_list")]
CHAIN: Assets = [*FEEDBACK, *PICK, *REPLACE]
"""Everything that the newsletter of `nord` needs on a day."""

RUN_ID = "5e0a1e52-8a3c-4c35-9f0b-5c6a7a1d2b11"
CANARY = "canary@example.org"


def check(result: dg.ExecuteInProcessResult, name: str, asset: str | None = None) -> dg.AssetCheckEvaluation:
    """Return the only evaluation of a check, or the one of `asset` if several assets have a check of that name."""
    (evaluation,) = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == name and asset in (None, evaluation.asset_key.path[-1])
    ]
    return evaluation


def gate(result: dg.ExecuteInProcessResult, name: str = "newsletter") -> dg.AssetCheckEvaluation:
    """Return what the preflight of a list found."""
    return check(result, "gate", f"{name}_recipient_list")


def rejections(installation: Installation, run_id: str, name: str = "newsletter") -> dict[tuple[str, str], int]:
    """Return how many people were rejected for a list, by stage and reason."""
    with installation.state() as state:
        return state.rejections.counts(run_id, "nord", name)


def withdrawals(installation: Installation) -> list[tuple[str, str]]:
    """Return the withdrawals that the CRM has: entity id and opt-in id, sorted."""
    return [(entity_id, opt_in_id) for entity_id, opt_in_id, _ in withdrawals_with_source(installation)]


def withdrawals_with_source(installation: Installation) -> list[tuple[str, str, str]]:
    """Return the withdrawals that the CRM has: entity id, opt-in id and source, sorted."""
    query = "SELECT entity_id, opt_in_id, source FROM consent_event WHERE kind = 'withdrawn' ORDER BY 1, 2"
    with installation.crm() as crm:
        return [tuple(row) for row in crm.exec_driver_sql(query)]


def erase(installation: Installation, *entity_ids: str) -> None:
    """Delete contacts from the CRM with their memberships and consent events."""
    with installation.crm() as crm:
        for table, column in (
            ("contact", "id"),
            ("marketing_list_member", "entity_id"),
            ("consent_event", "entity_id"),
        ):
            crm.exec_driver_sql(f"DELETE FROM {table} WHERE {column} IN ({', '.join(map(repr, entity_ids))})")


def addresses_without(*addresses: str) -> list[str]:
    """Return the addresses of the five contacts without some of them."""
    return [address for address in ADDRESSES if address not in addresses]


def audit(installation: Installation) -> dg.ExecuteInProcessResult:
    """Run the audit of `nord`."""
    return installation.definitions.resolve_job_def("nord_audit").execute_in_process(raise_on_error=False)
