"""A sensor serves all mandators, and what fails for one of them never touches the others."""

import threading
from collections.abc import Callable

import dagster as dg
import pytest

from campaign_sync.errors import CampaignSyncError
from campaign_sync.orchestration import mandator_threads
from campaign_sync.orchestration.mandator_threads import NoAnswerError, PatientThreads
from campaign_sync.orchestration.mandator_ticks import MandatorTick, MandatorTickError, evaluate_mandators

Evaluate = Callable[[str, str | None], MandatorTick]

EVENT = dg.AssetCheckEvaluation(asset_key=dg.AssetKey("a"), check_name="b", passed=True)


def tick(evaluate: Evaluate, cursor: str | None = None) -> dg.SensorResult:
    with dg.build_sensor_context(cursor=cursor) as context:
        return evaluate_mandators(context, ["nord", "sued", "ost"], evaluate)


def failing_for_sued(otherwise: Evaluate) -> Evaluate:
    def evaluate(mandator: str, cursor: str | None) -> MandatorTick:
        if mandator == "sued":
            raise CampaignSyncError("the folder can't be read; correct it")
        return otherwise(mandator, cursor)

    return evaluate


def test_a_failed_mandator_makes_the_tick_red_where_nothing_is_lost_by_that() -> None:
    with pytest.raises(MandatorTickError, match=r"^sued: the folder can't be read; correct it$"):
        tick(failing_for_sued(lambda _, cursor: MandatorTick("nothing to do", cursor)))


@pytest.mark.parametrize(
    "done",
    [
        MandatorTick(cursor="old", requests=(dg.RunRequest(run_key="1"),)),
        MandatorTick(cursor="new"),
        MandatorTick(cursor="old", events=(EVENT,)),
    ],
)
def test_requests_events_and_cursors_of_the_others_are_kept_and_the_failed_one_keeps_its_cursor(
    done: MandatorTick, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = '{"nord": "old", "ost": "old", "sued": "its own", "west": "gone"}'
    evaluate = failing_for_sued(lambda mandator, cursor: done if mandator == "ost" else MandatorTick(cursor=cursor))

    result = tick(evaluate, saved)

    assert list(result.run_requests or []) == list(done.requests)
    assert list(result.asset_events) == list(done.events)
    assert result.cursor == f'{{"nord": "old", "ost": "{done.cursor}", "sued": "its own"}}'
    assert "sued: the folder can't be read" in capsys.readouterr().err, "it is logged, and the next tick is red"
    if not done.requests and not done.events:
        with pytest.raises(MandatorTickError, match="sued"):
            tick(evaluate, result.cursor)


def test_an_unexpected_error_is_named_by_its_kind_and_place_alone() -> None:
    def evaluate(mandator: str, _: str | None) -> MandatorTick:
        raise KeyError("jörg@example.org") if mandator == "ost" else CampaignSyncError("it is down")

    with pytest.raises(MandatorTickError) as caught:
        tick(evaluate)
    assert "ost: KeyError in test_mandator_ticks.py, line" in str(caught.value)
    assert "jörg" not in str(caught.value)
    assert caught.value.__context__ is None, "nor with the error that it comes from"


def test_a_cursor_that_cannot_be_read_begins_anew_and_the_log_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    result = tick(lambda _, cursor: MandatorTick("begun" if cursor is None else "goes on", "1"), "usable")
    assert result.skip_reason == dg.SkipReason("begun")
    assert "can't be read, as after an upgrade" in capsys.readouterr().err
    assert tick(lambda _, cursor: MandatorTick(cursor=cursor), result.cursor).cursor == result.cursor


def test_the_reason_names_mandators_only_where_they_differ() -> None:
    same = tick(lambda *_: MandatorTick("nothing is wrong"))
    assert same.skip_reason == dg.SkipReason("nothing is wrong")
    differing = tick(lambda mandator, _: MandatorTick("all is well" if mandator != "sued" else "a run is under way"))
    assert differing.skip_reason == dg.SkipReason("nord, ost: all is well · sued: a run is under way")


def test_a_thread_that_hangs_delays_no_other_and_is_not_started_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mandator_threads, "PATIENCE_SECONDS", 0.2)
    answer, begun = threading.Event(), []

    def work(mandator: str) -> str:
        begun.append(mandator)
        if mandator == "sued":
            answer.wait()
        return mandator.upper()

    threads: PatientThreads[str, str] = PatientThreads()
    for _ in range(2):
        outcomes = threads.run(["sued", "ost"], work)
        assert isinstance(outcomes.pop("sued"), NoAnswerError)
        assert outcomes == {"ost": "OST"}
    assert begun.count("sued") == 1
    answer.set()
    monkeypatch.setattr(mandator_threads, "PATIENCE_SECONDS", 60)
    threads.run(["sued"], work)  # the one that hung may end, and another begins
    assert threads.run(["sued"], work) == {"sued": "SUED"}
