"""Without the section nothing happens; with it, the extra must be there."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from campaign_sync.config import Configuration, ConfigurationError, configuration_schema, load_configuration
from campaign_sync_tests.test_configuration import ENVIRON, MINIMAL

_PROGRAM = """
import sys
from pathlib import Path
from campaign_sync_tests.installation import running_installation
with running_installation(Path(sys.argv[1])) as shop:
    assert shop.run("nord", assets=[("nord", "bounces")]).success
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""


def test_without_the_section_a_run_imports_nothing_of_the_sdk(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", _PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.stdout.strip().endswith("[]"), ended.stderr


def load(folder: Path, section: dict[str, object]) -> Configuration:
    file = folder / "campaign_sync.yaml"
    file.write_text(MINIMAL + yaml.safe_dump({"telemetry": section}), "utf-8")
    return load_configuration(file, {**ENVIRON, "TOKEN": "open sesame"})


def test_headers_are_secrets_from_the_environment(tmp_path: Path) -> None:
    otlp = {"endpoint": "https://collector.example/otlp/", "headers": {"Authorization": {"env": "TOKEN"}}}
    settings = load(tmp_path, {"otlp": otlp}).telemetry
    assert settings.otlp is not None
    assert settings.otlp.endpoint == "https://collector.example/otlp"
    assert settings.otlp.headers["Authorization"].get_secret_value() == "open sesame"
    assert "sesame" not in repr(settings)
    assert settings.prometheus_file is None
    assert "telemetry" in configuration_schema()["properties"]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"otlp": {"endpoint": "collector:4318"}}, "an http or https URL is expected"),
        ({"otlp": {"endpoint": "http://me:secret@collector:4318"}}, "write them into headers"),
        ({"otlp": {"endpoint": "http://collector:4318/v1/traces"}}, "leave out /v1/traces"),
        ({"otlp": {"endpoint": "http://collector", "headers": {"a": "secret"}}}, "write {env: NAME}"),
        ({"otlp": {}}, "telemetry.otlp.endpoint"),
        ({"prometheus_file": "metrics.txt"}, "end in .prom"),
        ({"prometheus": "metrics.prom"}, "did you mean prometheus_file?"),
    ],
)
def test_mistakes_are_reported_with_their_place_and_without_their_value(
    tmp_path: Path, section: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, section)
    assert "telemetry" in str(error.value)
    assert said in str(error.value)
    assert "secret" not in str(error.value)


def test_without_the_extra_a_collector_is_a_mistake_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)  # as if it couldn't be found
    with pytest.raises(ConfigurationError, match=r"telemetry\.otlp: this needs the extra telemetry; run `uv sync"):
        load(tmp_path, {"otlp": {"endpoint": "http://collector:4318"}})
    assert load(tmp_path, {"prometheus_file": "campaign_sync.prom"}).telemetry.otlp is None
