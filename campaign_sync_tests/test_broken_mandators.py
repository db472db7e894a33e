"""A mandator whose settings have mistakes stops no other, and says so where the others run."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.config import Configuration, ConfigurationError, load_configuration
from campaign_sync.domain.asset_names import AssetKind
from campaign_sync.orchestration.asset_keys import asset_key
from campaign_sync.orchestration.check_names import USABLE
from campaign_sync.orchestration.code_location import build_definitions

NOW = datetime(2026, 3, 2, tzinfo=UTC)
NAMES = ("nord", "ost", "sued", "west")
SHARED = """\
optimizely: {base_url: "https://api.example.org/soap11"}
crm: {url: "sqlite:///crm.db"}
mandators:
"""
CHANNEL = "alarms: {{apprise: {{a: {{url: {{env: X}}, mandators: [{}]}}}}}}\n"


def section(name: str) -> str:
    number = NAMES.index(name) + 1
    return f"""\
  {name}:
    mandator_id: {number}
    username: {{env: UNSET_USERNAME}}
    password: {{env: UNSET_PASSWORD}}
    schedule: "30 4 * * *"
    lists:
      newsletter:
        recipient_list_id: {number}1
        kind: regular
        opt_in_id: newsletter
        select: {{marketing_list: Zaunkönige}}
"""


WAYS: dict[str, Callable[[str], str]] = {
    "an unknown key": lambda text: text.replace("schedule:", "schedul:"),
    "a wrong value": lambda text: text.replace("kind: regular", "kind: optin"),
    "a wrong schedule": lambda text: text.replace("30 4", "99 4"),
    "a missing value": lambda text: text.replace("opt_in_id: newsletter", "opt_in_id: {env: UNSET}"),
    "a password in the file": lambda text: text.replace("{env: UNSET_PASSWORD}", "Zaunkönig"),
    "a repeated key": lambda text: f"{text}    lists: {{}}\n",
    "a section that is none": lambda text: f"{text.splitlines()[0]} [Zaunkönig]\n",
    "an unknown tag": lambda text: text.replace("kind: regular", "kind: !secret Zaunkönig"),
}


def load(folder: Path, text: str) -> Configuration:
    file = folder / "campaign_sync.yaml"
    file.write_text(text, "utf-8")
    return load_configuration(file, {}, whole=False)


def problems(configuration: Configuration) -> dict[str, list[str]]:
    """The mistakes of the broken mandators, without the folder and the columns."""
    return {
        name: [problem.rpartition("campaign_sync.yaml:")[2] for problem in broken.problems]
        for name, broken in configuration.broken_mandators.items()
    }


@given(
    ways=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(sorted(WAYS))),
    clash=st.sets(st.sampled_from(NAMES), max_size=3),
)
def test_mandators_are_as_if_those_that_are_broken_were_not_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, ways: dict[str, str], clash: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("broken", numbered=True)
    texts = {name: WAYS[ways[name]](section(name)) if name in ways else section(name) for name in NAMES}
    for name in clash:
        texts[name] = texts[name].replace(f"recipient_list_id: {NAMES.index(name) + 1}1", 'recipient_list_id: "0099"')
    claims = {name for name in clash if '"0099"' in texts[name] and ways.get(name) != "a repeated key"}
    expected = ways.keys() | (claims if len(claims) > 1 else set())

    configuration = load(folder, SHARED + "".join(texts.values()))

    assert configuration.broken_mandators.keys() == expected
    alone = (
        load(folder, SHARED + "".join(text for name, text in texts.items() if name not in expected))
        if len(expected) < len(NAMES)
        else None
    )
    assert configuration.mandators == (alone.mandators if alone else {})
    for name, broken in configuration.broken_mandators.items():
        assert all(f" mandators.{name}" in problem for problem in broken.problems)
        assert "Zaunkönig" not in str(broken.problems)
    if expected:
        (folder / "campaign_sync.yaml").write_text(SHARED + "".join(texts.values()), "utf-8")
        with pytest.raises(ConfigurationError) as whole:
            load_configuration(folder / "campaign_sync.yaml", {})
        known = {problem for broken in configuration.broken_mandators.values() for problem in broken.problems}
        assert set(whole.value.problems) == known


def test_two_mandators_that_claim_a_list_or_an_id_are_both_broken_and_no_third(tmp_path: Path) -> None:
    text = SHARED + "".join(map(section, NAMES))
    text = text.replace("recipient_list_id: 31", 'recipient_list_id: "011"').replace("mandator_id: 4", "mandator_id: 2")
    claimed = "recipient_list_id: two entries would overwrite each other in one recipient list; the other is"
    assert problems(load(tmp_path, text)) == {
        "nord": [f"11:28 mandators.nord.lists.newsletter.{claimed} mandators.sued.lists.newsletter"],
        "sued": [f"33:28 mandators.sued.lists.newsletter.{claimed} mandators.nord.lists.newsletter"],
        "ost": ["16:18 mandators.ost.mandator_id: two entries are of the same mandator; the other is mandators.west"],
        "west": ["38:18 mandators.west.mandator_id: two entries are of the same mandator; the other is mandators.ost"],
    }


def test_a_claim_counts_even_if_its_mandator_is_broken_for_another_reason(tmp_path: Path) -> None:
    broken = WAYS["a wrong value"](section("ost")).replace("recipient_list_id: 21", "recipient_list_id: 11")
    assert load(tmp_path, SHARED + section("nord") + broken).broken_mandators.keys() == {"nord", "ost"}


@pytest.mark.parametrize(
    "use", ["feedback: *shared", "feedback: {<<: *shared, overlap: 3h}", "feedback: {<<: [*shared]}"]
)
def test_a_mistake_in_an_anchor_breaks_everyone_who_uses_it(tmp_path: Path, use: str) -> None:
    anchor = "    feedback: &shared {max_age: 12h, max_age: 13h}\n"
    text = SHARED + section("nord") + anchor + section("ost") + section("sued") + f"    {use}\n"
    assert problems(load(tmp_path, text)) == {
        name: [f"15:38 mandators.{name}.feedback.max_age: the key occurs twice, first in line 15"]
        for name in ("nord", "sued")
    }


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("crm: {url:", "crm: {urll:", "2:1 crm.url"),
        ('crm: {url: "sqlite:///crm.db"}', "crm: {url: {env: UNSET}}", "2:12 crm.url: the environment variable UNSET"),
        ("  nord:", "  Nord:", "4:3 mandators.Nord: a name has lower-case"),
        ("  nord:", f"  {'n' * 65}:", "4:3 mandators.nnn"),
        ("  nord:", "  ? [nord]\n  :", "4:5 mandators: a key must be plain text"),
        (
            "mandators:",
            "alarms: {apprise: {a: {url: {env: X}, mandators: [east]}}}\nmandators:",
            "3:51 alarms.apprise.a.mandators.0",
        ),
        ("  nord:", "  nord: [", "this isn't YAML"),
    ],
)
def test_mistakes_that_no_single_mandator_has_stop_all(tmp_path: Path, old: str, new: str, place: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, (SHARED + section("nord") + section("ost")).replace(old, new, 1))
    assert place in str(caught.value)


def test_a_channel_may_be_for_a_mandator_that_is_broken(tmp_path: Path) -> None:
    text = CHANNEL.format("ost") + SHARED + section("nord") + WAYS["a section that is none"](section("ost"))
    assert load(tmp_path, text).broken_mandators.keys() == {"ost"}


def test_what_alarms_and_schedule_need_is_read_as_far_as_possible(tmp_path: Path) -> None:
    more = dedent(
        """\
        title: Süd & Söhne
        timezone: Europe/Vienna
        alarms_to: [ops@example.org]
        automation: {alarms: false}
        unknown: 1
        """
    )
    text = section("sued") + "".join(f"    {line}\n" for line in more.splitlines())
    broken = load(tmp_path, SHARED + text).broken_mandators["sued"]
    assert (broken.display_name("sued"), broken.zone.key, broken.schedule) == (
        "Süd & Söhne",
        "Europe/Vienna",
        "30 4 * * *",
    )
    assert (broken.alarms_to, broken.automation.alarms, broken.lists) == (["ops@example.org"], False, ("newsletter",))
    for old, new, schedule in (
        ("schedule:", "schedul:", "30 4 * * *"),
        ("30 4", "99 4", "0 6 * * *"),
        ('schedule: "30 4 * * *"', "schedule: null", None),
        ("ops@example.org", "nowhere", "30 4 * * *"),
    ):
        assert load(tmp_path, SHARED + text.replace(old, new)).broken_mandators["sued"].schedule == schedule


def snapshot(configuration: Configuration) -> RepositorySnap:
    definitions = build_definitions(configuration, NOW)
    dg.Definitions.validate_loadable(definitions)
    return RepositorySnap.from_def(definitions.get_repository_def())


def test_definitions_are_as_if_broken_mandators_were_not_in_the_file(tmp_path: Path) -> None:
    sound = SHARED + section("nord") + section("west")
    broken = WAYS["a wrong value"](section("ost")) + WAYS["a section that is none"](section("sued"))
    with_broken, alone = snapshot(load(tmp_path, sound + broken)), snapshot(load(tmp_path, sound))

    def is_sound(name: str) -> bool:
        return not name.startswith(("ost", "sued"))

    assert [asset for asset in with_broken.asset_nodes if is_sound(asset.asset_key.path[0])] == alone.asset_nodes
    assert [check for check in with_broken.asset_check_nodes or [] if is_sound(check.asset_key.path[0])] == (
        alone.asset_check_nodes
    )
    assert [schedule for schedule in with_broken.schedules if is_sound(schedule.name)] == alone.schedules
    assert {sensor.name for sensor in with_broken.sensors} == {sensor.name for sensor in alone.sensors}
    jobs = {job.name: job for job in with_broken.job_datas or () if is_sound(job.name) and job.name[:2] != "__"}
    assert jobs == {job.name: job for job in alone.job_datas or () if job.name[:2] != "__"}
    assert [asset.asset_key.path for asset in with_broken.asset_nodes if not is_sound(asset.asset_key.path[0])] == [
        ["ost", "configuration"],
        ["sued", "configuration"],
    ]


def test_the_daily_schedule_and_job_of_a_broken_mandator_say_why_nothing_runs(tmp_path: Path) -> None:
    definitions = build_definitions(
        load(tmp_path, SHARED + section("nord") + WAYS["an unknown key"](section("ost"))), NOW
    )
    mistake = "mandators.ost.schedul: this key isn't known; did you mean schedule?"
    schedule = definitions.resolve_schedule_def("ost_daily")
    assert (schedule.cron_schedule, mistake in (schedule.description or "")) == ("30 4 * * *", True)
    with dg.build_schedule_context() as context:
        (reason,) = [schedule.evaluate_tick(context).skip_message or ""]
    assert f"19:5 {mistake}. Correct" in reason
    assert "`campaign-sync run ost`" in reason

    (spec,) = (spec for spec in definitions.resolve_all_asset_specs() if spec.key.path[0] == "ost")
    assert mistake in (spec.description or "")
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("ost_daily_replace").execute_in_process(instance=instance)
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.asset_check_key, evaluation.passed) == (
        dg.AssetCheckKey(asset_key("ost", AssetKind.CONFIGURATION), USABLE),
        False,
    )
    assert mistake in (evaluation.description or "")
