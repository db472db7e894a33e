"""What a collector gets of a day."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_sync.config import OtlpSettings
from campaign_sync.telemetry import exporter as exporting_module
from campaign_sync.telemetry import otlp
from campaign_sync.telemetry.exporter import exporting
from campaign_sync.telemetry.instruments import DURATION_BOUNDS
from campaign_sync.telemetry.spans import run_span
from campaign_sync_tests.installation import ENVIRONMENT, Installation, running_installation
from campaign_sync_tests.telemetry.collector import Received, collector


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Installation]:
    with running_installation(tmp_path) as built:
        built.settings["optimizely"] |= {"batch_size": 2, "parallel_calls": 2}
        yield built


@pytest.fixture
def received(shop: Installation) -> Iterator[Received]:
    with collector() as running:
        shop.environment["COLLECTOR_TOKEN"] = "open sesame"
        headers = {"authorization": {"env": "COLLECTOR_TOKEN"}}
        shop.settings["telemetry"] = {"otlp": {"endpoint": running.url, "headers": headers}}
        yield running


@pytest.mark.smoke
def test_a_day_is_one_trace_from_the_run_over_its_assets_to_the_vendor_calls(
    shop: Installation, received: Received
) -> None:
    shop.vendor.refuse(8100, "person3@example.org", 6)
    shop.list_settings(name="products")["limits"] = {"max_rows": 4}

    result = shop.run("nord")

    (run,) = received.named("run")
    assert run.parent == b""
    assert run.attributes["dagster.run_id"] == result.run_id
    assert run.attributes["campaign_sync.mandator"] == ["nord"]
    assert run.attributes["campaign_sync.lists"] == ["nord/newsletter"]
    assert run.attributes["campaign_sync.outcome"] == "ok"
    assert {span.trace for span in received.spans} == {run.trace}

    (newsletter,) = received.named("nord/newsletter_recipient_list")
    assert received.parent(newsletter) == run
    assert newsletter.attributes["dagster.asset_key"] == "nord/newsletter_recipient_list"
    assert newsletter.attributes["campaign_sync.rows"] == 4

    batches = [span for span in received.named("Recipient.addAll3") if received.parent(span) == newsletter]
    assert sorted(span.attributes["campaign_sync.rows"] for span in batches) == [1, 2, 2]
    assert {span.attributes["http.response.status_code"] for span in batches} == {200}
    assert {span.attributes["campaign_sync.attempt"] for span in batches} == {1}
    calls = shop.vendor.calls()
    assert len([span for span in received.spans if "rpc.method" in span.attributes]) == len(calls)
    assert received.parent(received.named("Session.logout")[0]) == run

    (stopped,) = received.named("nord/products_snapshot")
    assert stopped.attributes["campaign_sync.stopped_by"] == ["plausible_size"]

    assert received.headers[0]["authorization"] == "open sesame"
    assert {resource["service.name"] for resource in received.resources} == {"campaign_sync"}
    assert not any("service.instance.id" in resource for resource in received.resources)

    newsletter_of = {"mandator": "nord", "list": "newsletter"}
    assert received.sum("campaign_sync.rows.sent", **newsletter_of) == 5
    assert received.sum("campaign_sync.rows.accepted", **newsletter_of) == 4
    assert received.sum("campaign_sync.rows.refused", **newsletter_of, code="6") == 1
    calls_counted = received.sum("campaign_sync.vendor.call.duration", mandator="nord", method="Recipient.addAll3")
    assert calls_counted == len(shop.vendor.calls("addAll3"))
    assert all(point.is_delta for point in received.points)
    assert {point.bounds for point in received.points} == {(), DURATION_BOUNDS}
    assert_no_person_is_named(shop, received)


def test_a_call_that_fails_shows_its_kind_its_code_and_its_attempts(shop: Installation, received: Received) -> None:
    shop.vendor.fault("addAll3", "fault", skip=1, arg="person1@example.org is no recipient")
    shop.vendor.fault("getUnsubscribes", "drop")
    shop.vendor.fault("logout", "fault")  # so that the session is still known afterwards

    shop.day("sued")

    for method, status, code in (
        ("Recipient.addAll3", 500, "Server.userException"),
        ("ClosedLoop.getUnsubscribes", None, None),
    ):
        spans = received.named(method)
        assert sorted(span.attributes["campaign_sync.attempt"] for span in spans)[-2:] == [1, 2], method
        (failed,) = (span for span in spans if span.failed)
        assert failed.attributes["error.type"] == "TransientError"
        assert failed.attributes.get("http.response.status_code") == status
        assert failed.attributes.get("campaign_sync.fault_code") == code
        assert received.sum("campaign_sync.vendor.call.duration", method=method, outcome="TransientError") == 1
    (run,) = received.named("run")
    assert not run.failed
    assert sessions(shop)
    assert_no_person_is_named(shop, received)


def test_an_asset_that_fails_shows_its_kind_of_error_and_never_its_message(
    shop: Installation, received: Received
) -> None:
    shop.environment["PASSWORD_OF_BOTH"] = "wrong horse"

    assert not shop.run("nord", assets=[["nord", "bounces"], ["nord", "unsubscribes"]]).success

    (run,) = received.named("run")
    assert run.failed
    assert run.attributes["campaign_sync.outcome"] == "failed"
    for name in ("nord/bounces", "nord/unsubscribes"):
        (asset,) = received.named(name)
        assert asset.attributes["error.type"] == "CredentialsError"
        assert received.sum("campaign_sync.failures", mandator="nord", asset=name, kind="CredentialsError") == 1
    assert not any(span.events or span.status_message for span in received.spans)
    assert b"wrong horse" not in b"".join(received.bodies)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time limits for a collector that doesn't answer."""
    monkeypatch.setattr(exporting_module, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(otlp, "EXPORT_SECONDS", 0.3)


@pytest.mark.usefixtures("_impatient")
def test_a_collector_that_takes_no_connection_costs_a_warning(
    shop: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shop.settings["telemetry"] = {"otlp": {"endpoint": f"http://127.0.0.1:{port}"}}

    with caplog.at_level(logging.WARNING):
        shop.day("sued")

    warnings = [record.getMessage() for record in caplog.records if "telemetry" in record.getMessage()]
    assert len(warnings) == 1
    assert f"127.0.0.1:{port}" in warnings[0]
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


@pytest.mark.usefixtures("_impatient")
def test_a_run_does_not_wait_for_a_collector_that_never_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with exporting(OtlpSettings(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")), run_span("some-run"):
            pass


def test_an_sdk_that_cannot_be_set_up_fails_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096")  # more than fit into its queue
    with exporting(OtlpSettings(endpoint="http://127.0.0.1:4318")), run_span("some-run"):
        pass
    (warning,) = [record.getMessage() for record in caplog.records if "telemetry" in record.getMessage()]
    assert "the run goes on without. Check telemetry.otlp" in warning


def sessions(shop: Installation) -> list[str]:
    """Return the ids of the sessions that the vendor still knows."""
    with shop.vendor.transaction() as database:
        return [session_id for (session_id,) in database.execute("SELECT session_id FROM session")]


def assert_no_person_is_named(shop: Installation, received: Received) -> None:
    """Assert that the bytes that were sent hold neither people nor credentials nor sessions."""
    sent = b"".join(received.bodies)
    assert sent
    for secret in (*ENVIRONMENT.values(), "open sesame", "Änne", "Björn", "example.org", "person", *sessions(shop)):
        assert secret.encode() not in sent, secret
