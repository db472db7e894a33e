"""Text forms of CRM records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign_sync.domain.entity import Entity, EntityType

entities = st.builds(Entity, st.sampled_from(EntityType), st.text(min_size=1).filter(lambda text: text.strip() == text))


@given(entities)
def test_the_text_form_of_an_entity_is_parsed_as_that_entity(entity: Entity) -> None:
    assert Entity.parse(str(entity)) == entity


@pytest.mark.parametrize("text", ["", "4711", "contact", "contact:", "person:4711", "anna@example.org"])
def test_other_texts_are_no_entities(text: str) -> None:
    assert Entity.parse(text) is None


def test_the_kind_may_be_written_in_any_case() -> None:
    assert Entity.parse(" Contact:A-1 ") == Entity(EntityType.CONTACT, "A-1")
