"""The login that the reverse proxy passes on in a header, as a tag of the runs that a person launches.

The tag is written where Dagster has already parsed and validated a mutation, so it is the same however the mutation was
sent: by variables or literals, under an alias, several in one request.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_webserver.webserver import DagsterWebserver
from graphql import GraphQLError, GraphQLResolveInfo, default_field_resolver
from starlette.applications import Starlette
from starlette.datastructures import Headers

from campaign_sync.orchestration.names import USER_TAG

HEADER_VARIABLE = "CAMPAIGN_SYNC_UI_USER_HEADER"
"""Environment variable with the name of the header in which the proxy passes on who has logged in to it."""

MAX_LENGTH = 200
"""Of a login, in characters."""

_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie"}
_SINGLE_RUN, _SEVERAL_RUNS, _BACKFILL = "executionParams", "executionParamsList", "backfillParams"
_REEXECUTION, _BACKFILL_REEXECUTION = "reexecutionParams", "reexecutePartitionBackfill"


@dataclass(frozen=True)
class LoginHeader:
    """The header that names the person who sends a request; without a name, no header is trusted."""

    name: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "LoginHeader":
        """Return the configured header.

        Raises:
            ValueError: what is configured can't be the name of such a header.
        """
        name = environment.get(HEADER_VARIABLE, "").strip().lower()
        if name and (not re.fullmatch(r"[a-z0-9-]+", name) or name in _SECRET_HEADERS):
            raise ValueError(
                f"{HEADER_VARIABLE} isn't the name of a header with a login; set it to the one that your proxy sets, "
                "such as X-Forwarded-User."
            )
        return cls(name or None)

    def login(self, headers: Headers) -> str | None:
        """Return who sends a request; None if it doesn't say so.

        Raises:
            GraphQLError: it is ambiguous, or no login.
        """
        values = headers.getlist(self.name) if self.name else []
        if len(values) > 1:
            raise GraphQLError(
                f"The header {self.name} was sent twice, so it isn't known who launches the run; "
                "let the proxy replace the client's."
            )
        login = _decoded(values[0]).strip() if values else ""
        if len(login) > MAX_LENGTH or not login.isprintable():
            raise GraphQLError(
                f"The header {self.name} is no login: it has more than {MAX_LENGTH} characters, or control characters."
            )
        return login or None


class LoginTaggingWebserver(DagsterWebserver[Any, Any]):
    """Dagster's webserver, whose runs are tagged with the login of the person who launches them."""

    header = LoginHeader(None)
    """Where the login is."""

    def build_graphql_schema(self) -> Any:
        """Return Dagster's schema; every mutation's arguments are tagged before Dagster executes it."""
        schema = super().build_graphql_schema()
        for field in schema.graphql_schema.mutation_type.fields.values():
            field.resolve = _tagging(field.resolve or default_field_resolver, self.header)
        return schema

    def create_asgi_app(self, **settings: Any) -> Starlette:
        """Return Dagster's application, marked as one whose runs are tagged."""
        app: Starlette = super().create_asgi_app(**settings)
        app.state.tags_logins = True
        return app


def tags_logins(app: Any) -> bool:
    """Return whether an application is that of a `LoginTaggingWebserver`."""
    return isinstance(app, Starlette) and getattr(app.state, "tags_logins", False) is True


def _tagging(resolve: Callable[..., Any], header: LoginHeader) -> Callable[..., Any]:
    """Return a resolver that removes the tag from a mutation's arguments, and adds the login's to what it launches."""

    def resolve_tagged(root: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
        arguments = {name: _untagged(value) for name, value in arguments.items()}
        if arguments.keys() & {_SINGLE_RUN, _SEVERAL_RUNS, _BACKFILL, _REEXECUTION}:
            login = header.login(info.context.source.headers)
            _refuse_inherited_tag(info, arguments.get(_REEXECUTION), login)
            arguments = _tagged(arguments, login)
        return resolve(root, info, **arguments)

    return resolve_tagged


def _untagged(value: Any) -> Any:
    """Return an argument without the tag, wherever it is in it: the very same if it isn't."""
    inner: Any
    if isinstance(value, Mapping):
        inner = {name: _untagged(part) for name, part in value.items()}
        return value if all(inner[name] is part for name, part in value.items()) else inner
    if isinstance(value, list):
        inner = [_untagged(part) for part in value if not (isinstance(part, Mapping) and part.get("key") == USER_TAG)]
        return value if len(inner) == len(value) and all(map(operator.is_, inner, value)) else inner
    return value


def _tagged(arguments: Mapping[str, Any], login: str | None) -> dict[str, Any]:
    """Return the arguments of a mutation that launches something, with the tag of the login."""
    if login is None:
        return dict(arguments)
    tag = {"key": USER_TAG, "value": login}

    def run(params: Mapping[str, Any]) -> dict[str, Any]:
        return {**params, "executionMetadata": _with_tag(params.get("executionMetadata") or {}, "tags", tag)}

    tagged = dict(arguments)
    if tagged.get(_SINGLE_RUN):
        tagged[_SINGLE_RUN] = run(tagged[_SINGLE_RUN])
    if tagged.get(_SEVERAL_RUNS):
        tagged[_SEVERAL_RUNS] = [run(params) for params in tagged[_SEVERAL_RUNS]]
    if tagged.get(_BACKFILL):
        tagged[_BACKFILL] = _with_tag(tagged[_BACKFILL], "tags", tag)
    if tagged.get(_REEXECUTION):
        tagged[_REEXECUTION] = _with_tag(tagged[_REEXECUTION], "extraTags", tag)
    return tagged


def _with_tag(params: Mapping[str, Any], name: str, tag: dict[str, str]) -> dict[str, Any]:
    return {**params, name: [*(params.get(name) or []), tag]}


def _refuse_inherited_tag(info: GraphQLResolveInfo, params: Mapping[str, Any] | None, login: str | None) -> None:
    """Raise GraphQLError if what is re-executed would inherit the login of another person."""
    if not params:
        return
    parent, instance = params["parentRunId"], info.context.instance
    if info.field_name == _BACKFILL_REEXECUTION:
        backfill = instance.get_backfill(parent)
        inherited = backfill.tags.get(USER_TAG) if backfill else None
    elif login is not None or params.get("useParentRunTags") is False:
        return
    else:
        run = instance.get_run_by_id(parent)
        inherited = run.tags.get(USER_TAG) if run else None
    if inherited not in (None, login):
        raise GraphQLError(
            f"What is re-executed ({parent}) has the tag {USER_TAG} of the person who launched it, and the new run "
            "would have it, too; launch it anew, or log in to the proxy."
        )


def _decoded(value: str) -> str:
    """Return the text of a header: bytes that are UTF-8 nearly always, and that ASGI servers decode as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value
