"""The vendor's API as an engineer calls it in an afternoon, by httpx and lxml. The benchmarks' loops use it."""

import httpx
from lxml import etree

_ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/">
<e:Body><r:{1} xmlns:r="urn:api.broadmail.de/soap11/Rpc{0}">{2}</r:{1}></e:Body></e:Envelope>"""


class Vendor:
    """A session."""

    def __init__(self, base_url: str) -> None:
        self._http, self._session = httpx.Client(base_url=base_url, timeout=600), ""
        answer = self.call("Session", "login", "<in0>8100</in0><in1>api-user</in1><in2>correct horse</in2>")
        self._session = f"<in0>{answer[0].text}</in0>"

    def call(self, service: str, operation: str, arguments: str) -> etree._Element:
        """Return the element of the answer that has the results. `arguments` are XML, after that of the session."""
        body = _ENVELOPE.format(service, operation, self._session + arguments)
        headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
        answer = self._http.post(f"/Rpc{service}", content=body.encode(), headers=headers).raise_for_status()
        return etree.fromstring(answer.content, etree.XMLParser(huge_tree=True))[0][0]
