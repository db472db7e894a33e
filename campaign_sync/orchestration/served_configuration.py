"""Which configuration a code location serves: a command submits runs only to one that serves its own."""

import json

from campaign_sync.config import Configuration
from campaign_sync.storage.state import State


def configuration_mark(configuration: Configuration, mandator: str, state: State) -> str:
    """Return what two processes agree on only if they replace the same lists of a mandator with the same state.

    Args:
        configuration: has the mandator.
        mandator: its key.
        state: the state database, whose key makes the marks of two databases differ.
    """
    settings = configuration.mandators[mandator]
    lists = {name: section.recipient_list_id for name, section in settings.lists.items()}
    served = [configuration.optimizely.base_url, settings.mandator_id, mandator, sorted(lists.items())]
    return state.pseudonyms.of(json.dumps(served))
