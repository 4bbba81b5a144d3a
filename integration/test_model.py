"""The list of S3 operations that the Rust tests walk is the one that botocore's model has."""

import json
from pathlib import Path

import botocore.session

LIST = Path(__file__).parents[1] / "proxy/tests/data/aws-operations.json"


def test_operations_are_those_of_the_model():
    model = botocore.session.get_session().get_service_model("s3")
    operations = [model.operation_model(name) for name in model.operation_names]
    assert sorted([o.name, o.http["method"], o.http["requestUri"]] for o in operations) == json.loads(LIST.read_text())
