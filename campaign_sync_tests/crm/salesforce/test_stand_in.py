"""The tests' Salesforce, driven by a library that others wrote for the real one."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest

from campaign_sync_tests.crm.salesforce.org import Org, serving


@pytest.mark.thorough
def test_simple_salesforce_reads_and_writes_the_stand_in(tmp_path: Path) -> None:
    org = Org()
    ids = [org.add("Contact", LastName=f'O\'Neill "{number}"\r\n', Newsletter__c=True) for number in range(45)]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    session = requests.Session()
    session.trust_env, session.verify = False, str(tmp_path / "ca.pem")
    with serving(org, context) as url:
        instance = url.removeprefix("https://")
        salesforce: Any = Salesforce(instance=instance, session_id="token0", version="66.0", session=session)
        names = {field["name"] for field in salesforce.Contact.describe()["fields"]}
        assert names >= {"Id", "HasOptedOutOfEmail"}
        rows = salesforce.query_all("SELECT Id, LastName FROM Contact WHERE Newsletter__c = true")["records"]
        assert [row["Id"] for row in rows] == ids
        pages = list(salesforce.bulk2.Contact.query("SELECT Id, LastName FROM Contact"))
        assert len(pages) == 3
        assert sum(page.count("O'Neill") for page in pages) == len(ids)
        record = {"attributes": {"type": "Contact"}, "id": ids[0], "Newsletter__c": False}
        body = {"allOrNone": False, "records": [record]}
        results = salesforce.restful("composite/sobjects", method="PATCH", json=body)
        assert [result["success"] for result in results] == [True]
        assert salesforce.limits()["DailyApiRequests"]["Max"] == org.limit
        with pytest.raises(SalesforceMalformedRequest):
            salesforce.query("SELECT Nothing__c FROM Contact")
    assert org.record("Contact", ids[0])["Newsletter__c"] is False
