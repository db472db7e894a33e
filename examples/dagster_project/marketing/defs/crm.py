"""The team's own part: customers of the shop go into the CRM, and when they are there, the lists are replaced."""

import csv
import os
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from sqlalchemy import Connection, create_engine, text

_STATEMENTS = (
    "INSERT INTO contact (id, email, first_name, last_name, city) VALUES (:id, :email, :first_name, :last_name, :city)",
    "INSERT INTO marketing_list_member (marketing_list_id, entity_type, entity_id) VALUES ('nord', 'contact', :id)",
    """INSERT INTO consent_event (id, entity_type, entity_id, opt_in_id, kind, occurred_at, source)
    VALUES (:id, 'contact', :id, 'newsletter-nord', 'granted', :consented_at, 'shop')""",
)


@dg.asset(key=["crm", "customers"], group_name="crm", kinds={"sql"}, owners=["team:shop"])
def customers() -> dg.MaterializeResult[None]:
    """The customers of the shop in the CRM, each with the consent that was given at the till."""
    with Path(os.environ["SHOP_EXPORT"]).open(encoding="utf-8", newline="") as file:
        exported = list(csv.DictReader(file))
    engine = create_engine(os.environ["CRM_URL"])
    with engine.begin() as crm:
        known = set(crm.execute(text("SELECT id FROM contact")).scalars())
        new = [row for row in exported if row["id"] not in known]
        for row in new:
            _add(crm, row)
    engine.dispose()
    return dg.MaterializeResult(metadata={"new customers": len(new), "dagster/row_count": len(exported)})


def _add(crm: Connection, row: dict[str, str]) -> None:
    consented_at = datetime.fromisoformat(row["consented_at"]).astimezone(UTC)
    for statement in _STATEMENTS:
        crm.execute(text(statement), row | {"consented_at": consented_at})


crm_refresh = dg.define_asset_job("crm_refresh", selection=[customers])

crm_refresh_schedule = dg.ScheduleDefinition(
    job=crm_refresh, cron_schedule="0 4 * * *", execution_timezone="Europe/Berlin"
)


@dg.asset_sensor(asset_key=customers.key, job_name="nord_daily_replace", default_status=dg.DefaultSensorStatus.RUNNING)
def lists_after_crm(context: dg.SensorEvaluationContext, _: dg.EventLogEntry) -> dg.RunRequest:
    """Start the daily replacement of `nord` as soon as the CRM has been refreshed."""
    return dg.RunRequest(run_key=context.cursor)
