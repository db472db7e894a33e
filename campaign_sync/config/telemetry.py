"""The section `telemetry`: where spans and metrics are sent. Without it none are."""

from importlib.util import find_spec
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from campaign_sync.config.base import ConfigModel
from campaign_sync.config.field_types import Credential, Text
from campaign_sync.domain.url import is_ambiguous
from campaign_sync.extras import how_to_install

_EXTRA = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        complete &= not is_ambiguous(value)
    except ValueError:
        complete = False
    if not complete:
        raise ValueError("an http or https URL is expected, like http://collector:4318")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL has credentials in it; write them into headers, each as {env: NAME}")
    if parts.query or parts.fragment or parts.path.rstrip("/").endswith(("/v1/traces", "/v1/metrics")):
        raise ValueError("leave out /v1/traces and what follows, it is appended: http://collector:4318")
    return value.rstrip("/")


def _prom_file(value: str) -> str:
    if not value.endswith(".prom"):
        raise ValueError("node_exporter reads only files that end in .prom")
    return value


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class OtlpSettings(ConfigModel):
    """A collector of OpenTelemetry, OTLP over HTTP."""

    endpoint: Annotated[str, AfterValidator(_endpoint)]
    """Its URL up to and without /v1/traces, like http://collector:4318."""
    headers: dict[Text, Credential] = Field(default_factory=dict)
    """Headers of every request, each as {env: NAME}."""

    @model_validator(mode="after")
    def _check_extra(self) -> Self:
        if not all(map(_is_installed, _EXTRA)):
            raise ValueError(f"this needs the extra telemetry; {how_to_install('telemetry')}")
        return self


class TelemetrySettings(ConfigModel):
    """Where spans and metrics are sent."""

    otlp: OtlpSettings | None = None
    """The collector for spans and metrics; none if left out."""
    prometheus_file: Annotated[Text, AfterValidator(_prom_file)] | None = None
    """The file for node_exporter's textfile collector, ending in .prom; none if left out."""
