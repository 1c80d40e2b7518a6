"""Reads a table by a REST catalogue with PyIceberg.

Arguments: the catalogue's address, a token for it, the S3 endpoint, and the table's name. Standard output is a line of JSON:
what the catalogue lists, and of each event its id, day, who called (nested fields), how many resources it has, its parameters
and the MD5 of its record.
"""
import hashlib
import json
import sys

from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchTableError, RESTError


def record(row):
    """The record as it arrived, byte for byte."""
    if row["rawBytes"] is not None:
        return row["rawBytes"]
    if row["raw"] is not None:
        return row["raw"].encode()
    text = row["rawHead"] + (row["requestParameters"] or "null") + ',"responseElements":' + (row["responseElements"] or "null")
    if row["additionalEventData"] is not None:
        text += ',"additionalEventData":' + row["additionalEventData"]
    if row["requestID"] is not None:
        text += ',"requestID":"' + row["requestID"] + '"'
    return (text + ',"eventID":"' + row["eventID"] + row["rawTail"]).encode()


uri, token, endpoint, name = sys.argv[1:]
catalog = load_catalog("spoor", **{
    "type": "rest", "uri": uri, "token": token,
    "s3.endpoint": endpoint, "s3.access-key-id": "tester", "s3.secret-access-key": "testersecret", "s3.region": "us-east-1",
})
answer = {
    "namespaces": catalog.list_namespaces(),
    "tables": catalog.list_tables("spoor"),
    "exists": [catalog.table_exists(name), catalog.table_exists("spoor.other")],
}
try:
    catalog.load_table("spoor.other")
    answer["missing"] = "found"
except NoSuchTableError as err:
    answer["missing"] = "not found"
try:
    catalog.create_namespace("mine")
    answer["change"] = "done"
except (RESTError, NotImplementedError) as err:
    answer["change"] = "refused"
table = catalog.load_table(name)
rows = []
for row in table.scan().to_arrow().to_pylist():
    who = row["userIdentity"] or {}
    issuer = (who.get("sessionContext") or {}).get("sessionIssuer") or {}
    rows.append([
        row["eventID"], row["eventDay"].isoformat(), who.get("arn"), issuer.get("arn"),
        str(len(row["resources"] or [])), row["requestParameters"], hashlib.md5(record(row)).hexdigest(),
    ])
rows.sort(key=lambda r: [x or "" for x in r])
answer["rows"] = rows
one = table.scan(row_filter="eventName = 'GetUser'", selected_fields=("eventID",), limit=10).to_arrow()
answer["filtered"] = one.num_rows
held = table.snapshot_by_name("hold-case")
answer["held"] = table.scan(snapshot_id=held.snapshot_id, selected_fields=("eventID",)).to_arrow().num_rows
json.dump(answer, sys.stdout)
