"""The price list: the right SKUs among many similar ones."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from testcloud.apis import prices

if TYPE_CHECKING:
    from testcloud.cloud import Cloud

pytestmark = pytest.mark.usefixtures("cloud")
# Only all of these filters together leave one SKU.
RIGHT = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
    "licenseModel": "No License required",
    "operation": "RunInstances",
}


def products(operator: str = "TERM_MATCH", **wanted: str) -> list[dict[str, Any]]:
    filters = [{"Type": operator, "Field": key, "Value": value} for key, value in wanted.items()]
    paginator = boto3.client("pricing").get_paginator("get_products")
    pages = paginator.paginate(ServiceCode="AmazonEC2", Filters=filters)
    return [json.loads(text) for page in pages for text in page["PriceList"]]


def usd(item: dict[str, Any]) -> float:
    [term] = item["terms"]["OnDemand"].values()
    [dimension] = term["priceDimensions"].values()
    return float(dimension["pricePerUnit"]["USD"])


@pytest.mark.parametrize(
    ("kind", "region", "hourly"),
    [
        ("c5.2xlarge", "us-east-1", 0.34),
        ("c5.4xlarge", "us-east-1", 0.68),
        ("g4dn.xlarge", "us-west-2", 0.526),
        ("c7a.2xlarge", "us-east-1", 0.41056),
        ("m5.xlarge", "eu-central-1", 0.20736),
    ],
)
def test_all_the_filters_leave_the_one_right_price(kind: str, region: str, hourly: float) -> None:
    [item] = products(instanceType=kind, regionCode=region, **RIGHT)
    assert usd(item) == pytest.approx(hourly)
    assert item["product"]["productFamily"] == "Compute Instance"
    assert item["terms"]["Reserved"], "a client must ignore these terms"
    prefix = {"us-east-1": "", "us-west-2": "USW2-", "eu-central-1": "EUC1-"}[region]
    assert item["product"]["attributes"]["usagetype"] == f"{prefix}BoxUsage:{kind}"


@pytest.mark.parametrize("missing", sorted(set(RIGHT) - {"operation", "licenseModel"}))
def test_without_any_one_of_the_filters_there_are_more(missing: str) -> None:
    # As at AWS, some similar SKUs differ in two attributes: also drop the operation.
    filters = {key: value for key, value in RIGHT.items() if key not in (missing, "operation")}
    items = products(instanceType="c5.2xlarge", regionCode="us-east-1", **filters)
    assert len(items) > 1


def test_the_misleading_prices_come_first() -> None:
    for kind, misread in (("c5.2xlarge", 0.475), ("c5.4xlarge", 6.68)):
        items = products(instanceType=kind, regionCode="us-east-1", operatingSystem="Linux")
        assert usd(items[0]) == misread
        assert 0.0 in [usd(item) for item in items], "reservations and hosts cost 0"


def test_pages_have_the_requested_size_and_lose_nothing() -> None:
    client = boto3.client("pricing")
    page = client.get_products(ServiceCode="AmazonEC2", MaxResults=7)
    assert len(page["PriceList"]) == 7
    assert len(client.get_products(ServiceCode="AmazonEC2")["PriceList"]) == 100
    every = products()
    assert len(every) == len(prices.price_list()) > 100
    assert len({item["product"]["sku"] for item in every}) == len(every)


def test_what_the_list_does_not_know_is_refused_or_empty() -> None:
    client = boto3.client("pricing")
    with pytest.raises(ClientError, match="InvalidParameterException"):
        client.get_products(ServiceCode="AmazonMoon")
    with pytest.raises(ClientError, match="InvalidNextToken"):
        client.get_products(ServiceCode="AmazonEC2", NextToken="x")
    assert products(instanceType="c9.large") == []


def test_storage_is_listed_by_the_gigabyte_month() -> None:
    for region, price in (("us-east-1", 0.08), ("eu-central-1", 0.0952)):
        items = products(productFamily="Storage", volumeApiName="gp3", regionCode=region)
        assert [usd(item) for item in items] == [price]
        assert items[0]["product"]["attributes"]["usagetype"].endswith("EBS:VolumeUsage.gp3")
    assert len(products(volumeApiName="gp3", regionCode="us-east-1")) == 3
    assert len(products("CONTAINS", usagetype="VolumeUsage.gp3")) == 3


def history(**parameters: Any) -> list[dict[str, Any]]:
    parameters.setdefault("InstanceTypes", ["c5.2xlarge"])
    return list(boto3.client("ec2").describe_spot_price_history(**parameters)["SpotPriceHistory"])


def test_spot_prices_differ_by_zone_and_stay(cloud: Cloud) -> None:
    now = history(ProductDescriptions=["Linux/UNIX"], StartTime=time.time())
    by_zone = {each["AvailabilityZone"]: float(each["SpotPrice"]) for each in now}
    assert len(by_zone) == len(now) == len(set(by_zone.values())) == 5
    assert all(0.30 * 0.34 <= price <= 0.45 * 0.34 for price in by_zone.values())
    # A moment later the prices are the same.
    later = history(ProductDescriptions=["Linux/UNIX"], StartTime=time.time())
    assert {each["AvailabilityZone"]: float(each["SpotPrice"]) for each in later} == by_zone
    assert cloud.calls[-1].action == "DescribeSpotPriceHistory"


def test_spot_history_is_newest_first_and_filtered() -> None:
    times = [each["Timestamp"] for each in history()]
    assert times == sorted(times, reverse=True)
    assert {each["ProductDescription"] for each in history()} > {"Linux/UNIX", "Windows"}
    in_zone = history(AvailabilityZone="us-east-1b", ProductDescriptions=["Linux/UNIX"])
    assert len(in_zone) == 3
    assert {each["AvailabilityZone"] for each in in_zone} == {"us-east-1b"}
    assert len(history(MaxResults=4)) == 4
