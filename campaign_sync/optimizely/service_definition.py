"""The definition of one web service, read from its WSDL by zeep.

No parameter names or types are hard-coded: whether parameters are called `in0` or `recipientListId`, whether a number
is an int or a long, and the case of operation names depend on how the vendor built the server.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import zeep
import zeep.exceptions
from lxml import etree

from campaign_sync.domain.text import XML_FORBIDDEN
from campaign_sync.optimizely import soap_encoding
from campaign_sync.optimizely.errors import RefusedError, UnsendableError
from campaign_sync.optimizely.soap_encoding import Answer, Part

_MAX_DOCUMENTS = 20
"""The most documents of one WSDL. The vendor's has one."""

_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "boolean": lambda text: text.strip() in ("true", "1"),
    "int": int,
    "long": int,
    "short": int,
}


@dataclass(frozen=True)
class Operation:
    """One operation of the WSDL. The first parameter is the session id, except for `login`."""

    name: str
    parameters: tuple[Part, ...]
    result: Part | None
    zeep_operation: Any = field(repr=False)

    @property
    def has_arrays(self) -> bool:
        """Whether any parameter or the result is an array, which zeep handles badly."""
        return any(part.is_array for part in (*self.parameters, self.result) if part)


class ServiceDefinition:
    """The operations of one service."""

    def __init__(self, service: str, base_url: str, load: Callable[[str], bytes]):
        """Read the WSDL.

        Args:
            service: the service's name without `Rpc`, as `Recipient`.
            base_url: the URL before `/Rpc<service>`.
            load: fetches a document by URL; its errors pass through.

        Raises:
            RefusedError: the document isn't a usable WSDL.
        """
        self.service = service
        self._url = f"{base_url}/Rpc{service}"
        # The loader forbids other hosts and document types.
        settings = zeep.Settings(strict=True, forbid_external=False, forbid_dtd=True, xml_huge_tree=False)
        try:
            self._client = zeep.Client(f"{self._url}?wsdl", transport=_Loader(load), settings=settings)  # type: ignore[no-untyped-call]
            (binding_name,) = self._client.wsdl.bindings
            self._proxy = self._client.create_service(binding_name, self._url)  # type: ignore[no-untyped-call]
            operations = self._client.wsdl.bindings[binding_name].all().values()  # type: ignore[no-untyped-call]
        except (zeep.exceptions.Error, etree.XMLSyntaxError, ValueError, KeyError):
            raise RefusedError(
                f"{self._url}?wsdl isn't the description of a SOAP service; check optimizely.base_url."
            ) from None
        self.namespace: str = etree.QName(binding_name).namespace
        self._operations = {operation.name.casefold(): _operation(operation) for operation in operations}

    def operation(self, name: str) -> Operation:
        """Return the operation of that name; case is ignored.

        Raises:
            RefusedError: the service has none.
        """
        try:
            return self._operations[name.casefold()]
        except KeyError:
            raise RefusedError(
                f"Rpc{self.service} has no operation {name}; ask the vendor's support whether you may use it."
            ) from None

    def request(self, operation: Operation, arguments: Sequence[object]) -> bytes:
        """Encode the envelope of a call.

        Raises:
            UnsendableError: a text holds a character that XML can't carry.
        """
        self._check_parameter_count(operation, len(arguments))
        if not operation.has_arrays:
            return self._encode_with_zeep(operation, arguments)
        return soap_encoding.envelope(self.namespace, operation.name, _encode(operation.parameters, arguments))

    def tail(self, operation: Operation, arguments: Sequence[object]) -> bytes:
        """Encode all arguments but the session id, for `request_with_tail`.

        Raises:
            UnsendableError: a text holds a character that XML can't carry.
        """
        self._check_parameter_count(operation, len(arguments) + 1)
        return b"".join(_encode(operation.parameters[1:], arguments))

    def request_with_tail(self, operation: Operation, session_id: str, tail: bytes) -> bytes:
        """Encode the envelope of a call whose arguments after the session id are encoded already."""
        head = soap_encoding.argument(operation.parameters[0], session_id)
        return soap_encoding.envelope(self.namespace, operation.name, [*head, tail])

    def result(self, operation: Operation, answer: Answer) -> Any:
        """Decode what the operation returned: None for void, a scalar, a list, or a list of rows.

        Raises:
            HostileXmlError: the answer expands to more than its operation returns.
            NotSoapError: the answer isn't what the WSDL declares.
        """
        if operation.result is None:
            return None
        try:
            if not operation.has_arrays:
                soap_encoding.require_few_elements(answer)
                return operation.zeep_operation.process_reply(answer.envelope)
            convert = _CONVERTERS.get(operation.result.type.rpartition(":")[2], str)
            if operation.result.is_array:
                return soap_encoding.array(answer, convert)
            return soap_encoding.scalar(answer, convert)
        except soap_encoding.HostileXmlError:
            raise
        except (zeep.exceptions.Error, ValueError, KeyError, TypeError):
            raise soap_encoding.NotSoapError("not what the WSDL declares") from None

    def _check_parameter_count(self, operation: Operation, count: int) -> None:
        if len(operation.parameters) != count:
            raise RefusedError(
                f"Rpc{self.service}.{operation.name} takes {len(operation.parameters)} parameters instead of "
                f"{count}; the vendor has changed it, so this program needs an update."
            )

    def _encode_with_zeep(self, operation: Operation, arguments: Sequence[object]) -> bytes:
        if any(isinstance(value, str) and XML_FORBIDDEN.search(value) for value in arguments):
            raise UnsendableError(f"{operation.name}: an argument holds a character that XML can't carry.")
        message = self._client.create_message(self._proxy, operation.name, *arguments)  # type: ignore[no-untyped-call]
        return bytes(etree.tostring(message, xml_declaration=True, encoding="UTF-8"))


class _Loader(zeep.Transport):
    """Loads the vendor's WSDL for zeep, and the SOAP-encoding schema from this package instead of a third party."""

    def __init__(self, load: Callable[[str], bytes]):
        super().__init__()  # type: ignore[no-untyped-call]
        self._load = load
        self._loaded = 0

    def load(self, url: str) -> bytes:
        if url.rstrip("/") == soap_encoding.ENCODING.rstrip("/"):
            return files("campaign_sync.optimizely").joinpath("soapenc.xsd").read_bytes()
        self._loaded += 1
        if self._loaded > _MAX_DOCUMENTS:
            raise ValueError("too many documents")
        content = self._load(url)
        soap_encoding.refuse_document_type(content)
        return content


def _encode(parts: Sequence[Part], arguments: Sequence[object]) -> Iterator[bytes]:
    for part, value in zip(parts, arguments, strict=True):
        yield from soap_encoding.argument(part, value)


def _operation(operation: Any) -> Operation:
    abstract = operation.abstract
    results = [_part(name, part.type) for name, part in abstract.output_message.parts.items()]
    return Operation(
        name=operation.name,
        parameters=tuple(_part(name, part.type) for name, part in abstract.input_message.parts.items()),
        result=results[0] if results else None,
        zeep_operation=operation,
    )


def _part(name: str, kind: Any) -> Part:
    array_type = getattr(kind, "_array_type", None)
    qname = array_type.array_type.qname if array_type is not None else kind.qname
    return Part(name, soap_encoding.type_name(qname.namespace, qname.localname), is_array=array_type is not None)
