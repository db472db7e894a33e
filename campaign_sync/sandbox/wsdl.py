"""The signatures of all operations that the sandbox serves, and their WSDLs as Axis writes them."""

import re
from dataclasses import dataclass
from typing import Literal

PartNames = Literal["in0", "named"]
"""How a server names parameters: Axis writes `in0`, `in1`, … unless it was built with the names in Java."""

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
ENCODING = "http://schemas.xmlsoap.org/soap/encoding/"
XSD = "http://www.w3.org/2001/XMLSchema"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

_SIGNATURES = """
Session
    string login(long mandatorId, string username, string password)
    logout(string sessionId)
    string getLocale(string sessionId)
    setLocale(string sessionId, string locale)
    string getMediaType(string sessionId)
    setMediaType(string sessionId, string mediaType)
    string getVersion()
Recipient
    int[] addAll3(string sessionId, long recipientListId, long optinProcessId, string[] recipientIds,
        string[] addresses, string[] attributeNames, string[][] attributeValues)
    clear(string sessionId, long recipientListId)
    boolean contains(string sessionId, long recipientListId, string recipientId)
    int getCount(string sessionId, long recipientListId, long recipientFilterId)
    string[][] getAll(string sessionId, long recipientListId, string[] attributeNames)
    string[][] getAllAdvanced(string sessionId, long recipientListId, string[] attributeNames, long recipientFilterId,
        string orderByAttribute, boolean ascending, int startRow, int numberOfRows)
    string[] getAttributes(string sessionId, long recipientListId, string recipientId, string[] attributeNames)
    setAttributes(string sessionId, long recipientListId, string recipientId, string[] attributeNames,
        string[] attributeValues)
    remove(string sessionId, long recipientListId, string recipientId)
    boolean[] removeAll(string sessionId, long recipientListId, string[] recipientIds)
    int removeUnsubscribed(string sessionId, long recipientListId)
    int removeBounced(string sessionId, long recipientListId)
    int removeBlacklisted(string sessionId, long recipientListId)
    string getVersion()
RecipientList
    long[] getAllIds(string sessionId)
    string getName(string sessionId, long recipientListId)
    string getDescription(string sessionId, long recipientListId)
    string[] getAttributeNames(string sessionId, long recipientListId, string locale)
    boolean isTestRecipientList(string sessionId, long recipientListId)
    int getCount(string sessionId, boolean includeTestRecipientLists)
    string[] getColumnNames(string sessionId)
    string[][] getDataSet(string sessionId)
    string getVersion()
Unsubscribe
    add(string sessionId, long mailingId, string recipientId)
    addAll(string sessionId, long mailingId, string[] recipientIds)
    boolean contains(string sessionId, string recipientId)
    boolean[] containsAll(string sessionId, string[] recipientIds)
    boolean containsByRecipientList(string sessionId, long recipientListId, string recipientId)
    boolean[] containsAllByRecipientList(string sessionId, long recipientListId, string[] recipientIds)
    int getCount(string sessionId)
    remove(string sessionId, string recipientId)
    removeAll(string sessionId, string[] recipientIds)
    string getVersion()
Blacklist
    add(string sessionId, string entry, string reason)
    addAll(string sessionId, string[] entries, string[] reasons)
    boolean contains(string sessionId, string entry)
    boolean isBlacklisted(string sessionId, string address)
    boolean[] areBlacklisted(string sessionId, string[] addresses)
    int getCount(string sessionId)
    string getVersion()
ClosedLoop
    long getCurrentTime(string sessionId)
    string[][] getOutBounces(string sessionId, long since, long until, int startRow, int numberOfRows)
    string[][] getUnsubscribes(string sessionId, long since, long until, int startRow, int numberOfRows)
    string[][] getMailingUnsubscribes(string sessionId, long since, long until, int startRow, int numberOfRows)
    string[][] getResponses(string sessionId, long since, long until, int startRow, int numberOfRows)
    string[][] getOpens(string sessionId, long since, long until, int startRow, int numberOfRows)
    string[][] getClicks(string sessionId, long since, long until, int startRow, int numberOfRows)
    string[][] getLinks(string sessionId, long since, long until, int startRow, int numberOfRows)
    string[][] getMailings(string sessionId, long since, long until, int startRow, int numberOfRows)
    string[][] getRecipients(string sessionId, long since, long until, int startRow, int numberOfRows)
    string getVersion()
Mailing
    long[] getIdsInStatus(string sessionId, string mailingType, string status)
    string getStatus(string sessionId, long mailingId)
    string getName(string sessionId, long mailingId)
    long[] getRecipientListIds(string sessionId, long mailingId)
    dateTime getScheduleDate(string sessionId, long mailingId)
    string getVersion()
"""


@dataclass(frozen=True)
class Parameter:
    """One parameter, by its name in Java; `type` is an XSD type, with `[]` for each dimension."""

    name: str
    type: str


@dataclass(frozen=True)
class Signature:
    """The signature of one operation; `returns` is None for void."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: str | None


def _read(signatures: str) -> dict[str, dict[str, Signature]]:
    services: dict[str, dict[str, Signature]] = {}
    for match in re.finditer(r"^(\w+)$|^ {4}(?:([\w\[\]]+) )?(\w+)\((.*?)\)$", signatures, re.MULTILINE | re.DOTALL):
        service, returns, name, parameters = match.groups()
        if service:
            operations = services.setdefault(service, {})
        else:
            pairs = (parameter.split() for parameter in parameters.split(",") if parameter.strip())
            operations[name] = Signature(name, tuple(Parameter(name, kind) for kind, name in pairs), returns)
    return services


SERVICES = _read(_SIGNATURES)
"""Service (without `Rpc`): operation: signature, in the order of the parameters."""


def namespace(service: str) -> str:
    """Return the namespace of a service's calls and types."""
    return f"urn:api.broadmail.de/soap11/Rpc{service}"


def part_name(position: int, parameter: Parameter, part_names: PartNames) -> str:
    """Return the name of a parameter in the WSDL."""
    return parameter.name if part_names == "named" else f"in{position}"


def wsdl(service: str, part_names: PartNames = "in0") -> bytes:
    """Return the WSDL of one service, as Axis 1.4 writes it.

    Its `soap:address` isn't the address of this server, as with the vendor: a client must use its configured URL.
    """
    operations = SERVICES[service].values()
    types = [kind for operation in operations for kind in (operation.returns, *(p.type for p in operation.parameters))]
    arrays = sorted({kind for kind in types if kind and kind.endswith("[]")})
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<wsdl:definitions targetNamespace="{namespace(service)}" xmlns:impl="{namespace(service)}"
    xmlns:soapenc="{ENCODING}" xmlns:tns1="http://lang.java" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
    xmlns:wsdlsoap="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:xsd="{XSD}">
 <wsdl:types>
  <schema targetNamespace="{namespace(service)}" xmlns="{XSD}">
   <import namespace="http://lang.java"/>
   <import namespace="{ENCODING}"/>{"".join(map(_array_type, arrays))}
  </schema>
  <schema targetNamespace="http://lang.java" xmlns="{XSD}">
   <import namespace="{namespace(service)}"/>
   <import namespace="{ENCODING}"/>
   <complexType name="WebserviceException">
    <sequence>
     <element name="cause" nillable="true" type="xsd:anyType"/>
     <element name="message" nillable="true" type="xsd:string"/>
    </sequence>
   </complexType>
  </schema>
 </wsdl:types>
 <wsdl:message name="WebserviceException">
  <wsdl:part name="fault" type="tns1:WebserviceException"/>
 </wsdl:message>{"".join(_messages(operation, part_names) for operation in operations)}
 <wsdl:portType name="{service}Webservice">{"".join(_port_operation(o, part_names) for o in operations)}
 </wsdl:portType>
 <wsdl:binding name="Rpc{service}SoapBinding" type="impl:{service}Webservice">
  <wsdlsoap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>{
        "".join(_binding_operation(operation, namespace(service)) for operation in operations)
    }
 </wsdl:binding>
 <wsdl:service name="{service}WebserviceService">
  <wsdl:port binding="impl:Rpc{service}SoapBinding" name="Rpc{service}">
   <wsdlsoap:address location="http://api.example.invalid/soap11/Rpc{service}"/>
  </wsdl:port>
 </wsdl:service>
</wsdl:definitions>
""".encode()


def _array_name(kind: str) -> str:
    """Return the name of an array type, as `ArrayOfArrayOf_xsd_string` for `string[][]`."""
    return "ArrayOf" * kind.count("[]") + "_xsd_" + kind.rstrip("[]")


def _qualified(kind: str) -> str:
    return f"impl:{_array_name(kind)}" if kind.endswith("[]") else f"xsd:{kind}"


def _array_type(kind: str) -> str:
    return f"""
   <complexType name="{_array_name(kind)}">
    <complexContent>
     <restriction base="soapenc:Array">
      <attribute ref="soapenc:arrayType" wsdl:arrayType="xsd:{kind}"/>
     </restriction>
    </complexContent>
   </complexType>"""


def _messages(operation: Signature, part_names: PartNames) -> str:
    request = "".join(
        _part(part_name(position, parameter, part_names), parameter.type)
        for position, parameter in enumerate(operation.parameters)
    )
    response = _part(f"{operation.name}Return", operation.returns) if operation.returns else ""
    return f"""
 <wsdl:message name="{operation.name}Request">{request}
 </wsdl:message>
 <wsdl:message name="{operation.name}Response">{response}
 </wsdl:message>"""


def _part(name: str, kind: str) -> str:
    return f"""
  <wsdl:part name="{name}" type="{_qualified(kind)}"/>"""


def _port_operation(operation: Signature, part_names: PartNames) -> str:
    name = operation.name
    order = " ".join(part_name(position, p, part_names) for position, p in enumerate(operation.parameters))
    return f"""
  <wsdl:operation name="{name}"{f' parameterOrder="{order}"' if order else ""}>
   <wsdl:input message="impl:{name}Request" name="{name}Request"/>
   <wsdl:output message="impl:{name}Response" name="{name}Response"/>
   <wsdl:fault message="impl:WebserviceException" name="WebserviceException"/>
  </wsdl:operation>"""


def _binding_operation(operation: Signature, urn: str) -> str:
    name, encoded = operation.name, f'encodingStyle="{ENCODING}" namespace="{urn}" use="encoded"'
    return f"""
  <wsdl:operation name="{name}">
   <wsdlsoap:operation soapAction=""/>
   <wsdl:input name="{name}Request">
    <wsdlsoap:body {encoded}/>
   </wsdl:input>
   <wsdl:output name="{name}Response">
    <wsdlsoap:body {encoded}/>
   </wsdl:output>
   <wsdl:fault name="WebserviceException">
    <wsdlsoap:fault name="WebserviceException" {encoded}/>
   </wsdl:fault>
  </wsdl:operation>"""
