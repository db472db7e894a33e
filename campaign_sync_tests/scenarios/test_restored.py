"""What becomes of an installation of which only a part came back from a backup."""

import shutil
from pathlib import Path

from campaign_sync_tests.rig import NEWSLETTER, Rig

EVERYBODY = [f"person{number}@example.org" for number in range(1, 6)]
LEFT = "person3@example.org"
STAYED = [address for address in EVERYBODY if address != LEFT]


def _backup(shop: Rig, name: str) -> Path:
    with shop.state():
        pass  # SQLite's last connection moves everything into the file
    return Path(shutil.copy(shop.folder / name, shop.folder / f"{name}.backup"))


def _restore(shop: Rig, name: str) -> None:
    for leftover in shop.folder.glob(f"{name}-*"):
        leftover.unlink()
    shutil.copy(shop.folder / f"{name}.backup", shop.folder / name)


def _may_shrink(shop: Rig) -> None:
    for name in ("newsletter", "products"):
        shop.list_settings(name=name)["limits"] = {"max_shrink": 0.5}


def test_after_an_older_state_database_the_feedback_of_the_days_between_is_imported_again(shop: Rig) -> None:
    _may_shrink(shop)
    shop.day()
    _backup(shop, "state.db")
    shop.leave(LEFT)
    shop.day()
    assert shop.addresses(NEWSLETTER) == STAYED
    _restore(shop, "state.db")

    shop.day()

    assert shop.addresses(NEWSLETTER) == STAYED
    shop.day()
    assert shop.addresses(NEWSLETTER) == STAYED


def test_without_the_frame_storage_lists_are_replaced_and_leavers_still_leave(shop: Rig) -> None:
    _may_shrink(shop)
    shop.day()
    shutil.rmtree(shop.folder / "frames")
    shop.leave(LEFT)

    shop.day()

    assert shop.addresses(NEWSLETTER) == STAYED


def test_after_an_older_crm_the_audit_brings_back_who_left_before_any_list_is_filled(shop: Rig) -> None:
    _may_shrink(shop)
    shop.day()
    _backup(shop, "crm.db")
    shop.leave(LEFT)
    shop.day()
    _restore(shop, "crm.db")

    audit = shop.definitions.resolve_job_def("nord_audit").execute_in_process(raise_on_error=False)
    assert not audit.success or any(not check.passed for check in audit.get_asset_check_evaluations())
    shop.day()

    assert shop.addresses(NEWSLETTER) == STAYED
