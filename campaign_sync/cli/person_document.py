"""The document of `why` and `prove`: one model of people in lists, of which each prints another table."""

from collections.abc import Sequence
from datetime import date, datetime

from campaign_sync.cli.documents import (
    Consent,
    ListRejection,
    Membership,
    Person,
    PersonDocument,
    PersonInList,
    PlanApproval,
    Proof,
    SnapshotRedaction,
    Suppression,
)
from campaign_sync.domain.consent import UNDATED, ConsentEvent, precedence_key
from campaign_sync.domain.consent_state import UNDATED_GRANT
from campaign_sync.domain.membership import Rejection
from campaign_sync.inquiry.person_report import ListMembership, PersonListReport, PersonReport
from campaign_sync.storage.replacement_history import ProvenList


def person_document(reports: Sequence[PersonReport], day: date | None = None) -> PersonDocument:
    """Return what is known of people at the end of a day, or now."""
    people = tuple(
        Person(record=report.key, address=report.email, lists=tuple(map(_in_list, report.lists))) for report in reports
    )
    return PersonDocument(day=day, people=people)


def _in_list(entry: PersonListReport) -> PersonInList:
    events = sorted(entry.events, key=precedence_key)
    return PersonInList(
        mandator=entry.settings.mandator,
        list=entry.settings.name,
        opt_in_id=entry.settings.schema.opt_in_id,
        then=_membership(entry, entry.then),
        now=_membership(entry, entry.now),
        consent_events=tuple(_consent(entry, event) for event in events),
        suppressions=tuple(
            Suppression(
                reason=reason.reason, since=_known(reason.since), source=reason.source, record=reason.entity_key
            )
            for reason in entry.suppression_reasons
        ),
        awaited_plan_id=entry.awaited_plan.id if entry.awaited_plan else None,
    )


def _membership(entry: PersonListReport, membership: ListMembership) -> Membership:
    proven = membership.list.proven
    return Membership(
        in_list=membership.in_list,
        proof=_proof(proven) if proven else None,
        incomplete_since=membership.list.cleared_at,
        unreadable=membership.list.unreadable,
        sent_to=membership.row.address if membership.row else None,
        consent=_consent(entry, membership.consent) if membership.consent else None,
        rejection=_rejection(membership.reason) if membership.reason else None,
    )


def _proof(proven: ProvenList) -> Proof:
    return Proof(
        proven_at=proven.proven_at,
        snapshot_id=proven.snapshot_id,
        frozen_at=proven.frozen_at,
        file=proven.file,
        sha256=proven.digest,
        people_of=proven.people_of,
        consents_of=proven.consents_of,
        approval=PlanApproval(**vars(proven.approval)) if proven.approval else None,
        redactions=tuple(
            SnapshotRedaction(
                erasure_id=redaction.erasure_id,
                redacted_at=redaction.redacted_at,
                rows=redaction.rows,
                sha256_before=redaction.digest_before,
                sha256_after=redaction.digest_after,
            )
            for redaction in proven.redactions
        ),
    )


def _consent(entry: PersonListReport, event: ConsentEvent) -> Consent:
    origin = entry.origins.get(event.event_id)
    return Consent(
        event_id=event.event_id,
        kind=event.kind,
        occurred_at=_known(event.occurred_at),
        source=event.source,
        evidence=event.evidence,
        text_version=event.text_version,
        from_feedback=origin.file if origin else None,
    )


def _rejection(rejection: Rejection) -> ListRejection:
    return ListRejection(
        stage=rejection.stage,
        reason=rejection.reason,
        vendor_code=rejection.vendor_code,
        first_seen=rejection.first_seen,
        last_seen=rejection.last_seen,
    )


def _known(moment: datetime | None) -> datetime | None:
    """Return a moment; None for one in place of a time that isn't known."""
    return None if moment is None or moment >= UNDATED or moment == UNDATED_GRANT else moment
