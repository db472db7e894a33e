"""Which stored plan a command is about: named by its id, or by the file that `plan --save --output` wrote."""

from pathlib import Path

from pydantic import ValidationError

from campaign_sync.cli.error_handling import SOMETHING_FAILED, CommandError
from campaign_sync.cli.list_choice import require_lists
from campaign_sync.cli.plan_document import PlanDocument
from campaign_sync.config import Configuration
from campaign_sync.storage.list_plans import StoredPlan
from campaign_sync.storage.state import State


def stored_plan(configuration: Configuration, plan: str) -> StoredPlan:
    """Return the stored plan of this id, or of this file.

    Raises:
        CommandError: there is none, the file has no plan or several, or its list isn't configured.
        StateError: the state database can't be read.
    """
    plan_id = _id_in_file(Path(plan)) if Path(plan).is_file() else plan
    with State(configuration.storage.state_url.get_secret_value()) as state:
        stored = state.list_plans.get(plan_id)
    if stored is None:
        raise CommandError(
            f"no plan {plan_id} is stored in this state database; `campaign-sync plan MANDATOR --list LIST --save` "
            "stores one, and shows its id",
            SOMETHING_FAILED,
        )
    require_lists(configuration, stored.mandator, [stored.list])
    return stored


def _id_in_file(file: Path) -> str:
    try:
        document = PlanDocument.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        raise CommandError(f"{file} isn't a plan as `campaign-sync plan --save --output {file}` writes it") from None
    saved = [entry.plan_id for entry in document.lists if entry.plan_id]
    if not saved:
        raise CommandError(f"{file} has no stored plan; make it with `campaign-sync plan --save`")
    if len(saved) > 1:
        raise CommandError(f"{file} has several plans: {', '.join(saved)}; name one of them")
    return saved[0]
