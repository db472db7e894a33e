"""The asset that compares the CRM with the vendor's unsubscribe lists and blocklist."""

import dagster as dg

from campaign_sync.config import MandatorSettings
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.domain.message import Message
from campaign_sync.domain.progress import Progress, report
from campaign_sync.feedback.unsubscribe_audit import UnsubscribeAudit
from campaign_sync.feedback.vendor_opt_outs import VendorOptOuts
from campaign_sync.orchestration.asset_builder import AssetBuilder
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.descriptions import asset_description, check_description
from campaign_sync.orchestration.errors import translate_errors
from campaign_sync.orchestration.metadata import Materialized, in_language, seen_in
from campaign_sync.orchestration.metadata_labels import labelled
from campaign_sync.orchestration.resources import CrmResource, FilesResource, RunResource, StateResource, VendorResource
from campaign_sync.telemetry.spans import note_rows

_WARN = dg.AssetCheckSeverity.WARN

_NOW = {
    False: Message("it does now"),
    True: Message("they are kept out of all lists, and the consent is withdrawn when their feedback row has come"),
}
"""What becomes of opt-outs that the CRM didn't know; by whether feedback rows name the opt-in."""


def audit_asset(builder: AssetBuilder, mandator: str, settings: MandatorSettings, crm_kind: str) -> dg.AssetsDefinition:
    """Return the asset `[mandator, "audit"]`: everybody with a granted consent, looked up at the vendor."""
    key, called = asset_key(mandator, AssetKind.AUDIT, prefix=settings.prefix), settings.display_name(mandator)
    rows_name_opt_ins = bool(settings.feedback.opt_in_readers)
    await_rows = rows_name_opt_ins and settings.unsubscribe_lists == "client"

    @builder.asset(
        key,
        kinds={crm_kind, "report"},
        description=asset_description(
            settings.language,
            Message(
                "The CRM compared with Optimizely Campaign's unsubscribe list and blocklist of {called}. What the "
                "CRM lacks is imported; lists stay as they are.",
                called=called,
            ),
            Message("everybody with a granted consent, each looked up at the vendor."),
            Message("vendor or CRM couldn't be asked. Start the audit job again; nothing else waits for it."),
        ),
        metadata=labelled({"mandator": called, "mandator id": str(settings.mandator_id)}, settings.language),
        check_specs=[
            dg.AssetCheckSpec(
                "complete",
                asset=key,
                description=check_description(
                    settings.language,
                    called,
                    Message("the CRM knew everybody who left."),
                    Message("{now:sentence} Check feedback.readers: some export is incomplete.", now=_NOW[await_rows]),
                ),
            ),
            dg.AssetCheckSpec(
                "agreed",
                asset=key,
                description=check_description(
                    settings.language,
                    called,
                    Message("withdrawals in the CRM and at the vendor are the same."),
                    Message(
                        "people who are withdrawn at either of the two get no mail. Clear up in the CRM which is right."
                    ),
                ),
            ),
        ],
    )
    def compare(
        context: dg.AssetExecutionContext,
        run: RunResource,
        vendor: VendorResource,
        crm: CrmResource,
        state: StateResource,
        files: FilesResource,
    ) -> Materialized:
        asked = 0

        def on_rows(rows: int) -> None:
            nonlocal asked
            asked += rows
            report(Progress(mandator, "audit", "ask the vendor", asked, None))

        with translate_errors(context, run, state) as attempt:
            opt_outs = VendorOptOuts(mandator, crm.open(), state.open(), files.open())
            result = UnsubscribeAudit(settings, vendor.login(mandator), opt_outs, on_rows).run()
            report(Progress(mandator, "audit", "audited", result.asked, result.asked))
            note_rows(result.asked)
        incomplete = Message(
            "{people} had left and the CRM didn't know; {consequence}. Check feedback.readers: some export is "
            "incomplete",
            people=result.missing,
            consequence=_NOW[await_rows],
        )
        apart = Message(
            "{consenting} have a consent in the CRM, but are on the vendor's unsubscribe list, and it writes to none "
            "of them; {released} are withdrawn because of the vendor, which has forgotten them",
            consenting=result.consenting_still,
            released=result.released,
        )
        return dg.MaterializeResult(
            data_version=seen_in(context),
            metadata=labelled(
                {
                    "asked about": result.asked,
                    "missing in the CRM": result.missing,
                    "consenting here, unsubscribed at the vendor": result.consenting_still,
                    "left another opt-in, unsubscribed at the vendor": result.left_another,
                    "newly found on the blocklist": result.newly_blocked,
                    "withdrawn in the CRM only": result.released,
                    "unsubscribed at the vendor": result.vendor_unsubscribed,
                    "entries of the blocklist": result.vendor_blocked,
                    "seconds": attempt.seconds,
                },
                settings.language,
            ),
            check_results=[
                in_language(check, settings.language)
                for check in (
                    dg.AssetCheckResult(
                        asset_key=key,
                        check_name="complete",
                        passed=not result.missing,
                        severity=_WARN,
                        description=incomplete if result.missing else Message("the CRM knew everybody who left"),
                        metadata={"missing": result.missing},
                    ),
                    dg.AssetCheckResult(
                        asset_key=key,
                        check_name="agreed",
                        passed=not (result.consenting_still or result.released),
                        severity=_WARN,
                        description=apart
                        if result.consenting_still or result.released
                        else Message("CRM and vendor agree"),
                        metadata={
                            "consenting here": result.consenting_still,
                            "withdrawn in the CRM only": result.released,
                        },
                    ),
                )
            ],
        )

    return compare
