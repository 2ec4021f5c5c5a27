"""One right price out of a list full of look-alikes, or none at all."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.errors import CloudRefused, PriceUnknown
from cloudburst.models import Basis, Price, Quote
from cloudburst.targets.aws.prices.pricing import (
    PriceBook,
    disk_filters,
    instance_filters,
    one_price,
    surplus_per_hour,
)
from testcloud.apis.prices import get_products
from tests.support.fakes import cloud_refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NOVEMBER_24 = 1_795_478_400.0  # 2026-11-24 00:00 UTC
DAY = 86_400.0
ADVICE = "Give it as aws.price_per_hour: {c5.2xlarge: USD} in scenes.yaml"


def listed(filters: Mapping[str, str]) -> list[str]:
    """Ask the price list for all pages."""
    asked: dict[str, Any] = {
        "ServiceCode": "AmazonEC2",
        "Filters": [
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in filters.items()
        ],
    }
    found: list[str] = []
    while True:
        page = get_products(asked)
        found += page["PriceList"]
        if "NextToken" not in page:
            return found
        asked["NextToken"] = page["NextToken"]


def hourly(documents: Iterable[str]) -> float:
    return one_price(documents, "c5.2xlarge in us-east-1", "Hrs", ADVICE)


def without(*fields: str) -> list[str]:
    filters = instance_filters("c5.2xlarge", "us-east-1")
    return listed({field: value for field, value in filters.items() if field not in fields})


@pytest.mark.parametrize(
    ("instance_type", "usd"),
    [
        ("c5.2xlarge", 0.34),
        ("c5.4xlarge", 0.68),
        ("m5.xlarge", 0.192),
        ("c7i.2xlarge", 0.357),
        ("g4dn.xlarge", 0.526),
    ],
)
def test_the_known_prices_come_out(tmp_path: Path, instance_type: str, usd: float) -> None:
    book = PriceBook(listed, {}, tmp_path / "prices.json", lambda: NOVEMBER_24)
    expected = Quote(Price(usd, "AWS price list of 2026-11-24"), Basis.LIST)
    assert book.on_demand(instance_type, "us-east-1") == expected


def test_the_region_counts(tmp_path: Path) -> None:
    book = PriceBook(listed, {}, tmp_path / "prices.json")
    assert book.on_demand("m5.xlarge", "eu-central-1").price.usd_per_hour == 0.20736


@pytest.mark.parametrize(
    ("field", "products"),
    [
        ("instanceType", 10),
        ("regionCode", 3),
        ("tenancy", 3),
        ("capacitystatus", 3),
        ("marketoption", 2),
    ],
)
def test_without_this_filter_alone_there_is_no_price(field: str, products: int) -> None:
    found = without(field)
    assert len(found) == products
    with pytest.raises(PriceUnknown, match=rf"has {products} products .*aws\.price_per_hour"):
        hourly(found)


@pytest.mark.parametrize(("field", "products"), [("operatingSystem", 6), ("preInstalledSw", 4)])
def test_without_this_filter_the_operation_still_tells_them_apart(
    field: str, products: int
) -> None:
    assert hourly(without(field)) == 0.34
    assert hourly(without("operation")) == 0.34
    found = without(field, "operation")
    assert len(found) == products
    with pytest.raises(PriceUnknown, match=f"has {products} products"):
        hourly(found)


def test_whatever_filters_are_missing_a_wrong_number_never_comes_out() -> None:
    fields = sorted(set(instance_filters("", "")) - {"instanceType", "regionCode"})
    assert len(fields) == 7
    every = chain.from_iterable(combinations(fields, count) for count in range(8))
    told = refused = 0
    for missing in every:
        try:
            assert hourly(without(*missing)) == 0.34, missing
            told += 1
        except PriceUnknown:
            refused += 1
    assert told + refused == 128
    assert refused > told > 0


def product(prices: int = 1, unit: str = "Hrs", **per_unit: str) -> dict[str, Any]:
    dimension = {"unit": unit, "pricePerUnit": per_unit or {"USD": "0.3400000000"}}
    return {
        "product": {"sku": "ABC", "productFamily": "Compute Instance"},
        "terms": {
            "OnDemand": {
                "ABC.JRT": {"priceDimensions": {f"ABC.JRT.{n}": dimension for n in range(prices)}}
            },
            "Reserved": {
                "ABC.4NA": {"priceDimensions": {"r": dimension | {"pricePerUnit": {"USD": "0.2"}}}}
            },
        },
    }


def two_terms() -> dict[str, Any]:
    made = product()
    made["terms"]["OnDemand"]["ABC.OLD"] = made["terms"]["OnDemand"]["ABC.JRT"]
    return made


def test_one_product_with_one_price_is_read() -> None:
    assert hourly([json.dumps(product())]) == 0.34


@pytest.mark.parametrize(
    ("products", "words"),
    [
        ([], "no product for c5.2xlarge in us-east-1; expected one"),
        ([product(), product()], r"2 products \(ABC, ABC\)"),
        ([product(prices=0)], "has 0 prices"),
        ([product(prices=2)], "has 2 prices"),
        ([two_terms()], "has 2 prices"),
        ([{"product": {"sku": "ABC"}}], "has 0 prices"),
        (
            [product(unit="Quantity")],
            "0.34 USD per Quantity for .* expected more than 0 USD per Hrs",
        ),
        ([product(USD="0.0000000000")], "0 USD per Hrs"),
        ([product(USD="-0.34")], "-0.34 USD per Hrs"),
        ([product(CNY="2.5")], "no price in USD"),
        ([product(USD="free")], "no price in USD"),
    ],
)
def test_anything_but_one_price_is_refused_with_a_way_out(
    products: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(PriceUnknown, match=words) as caught:
        hourly(json.dumps(each) for each in products)
    assert "c5.2xlarge in us-east-1" in str(caught.value)
    assert str(caught.value).endswith(ADVICE)


def test_what_the_list_does_not_have_is_to_be_given(tmp_path: Path) -> None:
    book = PriceBook(listed, {}, tmp_path / "prices.json")
    with pytest.raises(PriceUnknown) as caught:
        book.on_demand("c9.huge", "us-east-1")
    assert str(caught.value) == (
        "the price list has no product for c9.huge in us-east-1; expected one. "
        "Give it as aws.price_per_hour: {c9.huge: USD} in scenes.yaml"
    )
    assert not (tmp_path / "prices.json").exists(), "what is not known is not kept"


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "AccessDeniedException"])
def test_where_the_list_cannot_be_asked_the_price_is_to_be_given(tmp_path: Path, code: str) -> None:
    """Keys of an account in China or GovCloud are none of the partition that has the list."""

    def refused(_: object) -> list[str]:
        raise cloud_refused(f"pricing get-products: {code}", code)

    book = PriceBook(refused, {"c5.large": 0.1}, tmp_path / "prices.json")
    with pytest.raises(CloudRefused) as caught:
        book.on_demand("c5.2xlarge", "cn-north-1")
    assert str(caught.value).endswith(f". {ADVICE}")
    assert caught.value.code == code
    assert book.on_demand("c5.large", "cn-north-1").price.usd_per_hour == 0.1


def test_a_list_that_does_not_answer_for_now_asks_for_no_price(tmp_path: Path) -> None:
    def away(_: object) -> list[str]:
        raise cloud_refused("pricing get-products: connection refused")

    book = PriceBook(away, {}, tmp_path / "prices.json")
    with pytest.raises(CloudRefused) as caught:
        book.on_demand("c5.2xlarge", "us-east-1")
    assert "price_per_hour" not in str(caught.value)


class Asked:
    """The price list, and how often it was asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, filters: Mapping[str, str]) -> list[str]:
        self.count += 1
        return listed(filters)


class Clock:
    def __init__(self) -> None:
        self.now = NOVEMBER_24

    def __call__(self) -> float:
        return self.now


def test_a_given_price_wins_and_nobody_is_asked(tmp_path: Path) -> None:
    asked = Asked()
    book = PriceBook(asked, {"c5.2xlarge": 0.25}, tmp_path / "prices.json")
    expected = Quote(Price(0.25, "given in scenes.yaml"), Basis.GIVEN)
    assert book.on_demand("c5.2xlarge", "us-east-1") == expected
    assert asked.count == 0
    assert book.on_demand("c5.4xlarge", "us-east-1").price.usd_per_hour == 0.68


def test_a_price_is_asked_for_once_a_day_by_all_runs(tmp_path: Path) -> None:
    asked, clock, file = Asked(), Clock(), tmp_path / "prices.json"
    first = PriceBook(asked, {}, file, clock).on_demand("c5.2xlarge", "us-east-1")
    clock.now += DAY - 1
    assert PriceBook(asked, {}, file, clock).on_demand("c5.2xlarge", "us-east-1") == first
    assert asked.count == 1
    clock.now += 1
    quote = PriceBook(asked, {}, file, clock).on_demand("c5.2xlarge", "us-east-1")
    assert asked.count == 2
    assert quote.price == Price(0.34, "AWS price list of 2026-11-25")
    assert [path.name for path in tmp_path.iterdir()] == ["prices.json"]


def test_one_price_is_not_taken_for_another(tmp_path: Path) -> None:
    asked = Asked()
    book = PriceBook(asked, {}, tmp_path / "prices.json")
    places = [("c5.2xlarge", "us-east-1"), ("c5.4xlarge", "us-east-1"), ("m5.xlarge", "us-east-1")]
    places.append(("m5.xlarge", "eu-central-1"))
    for _ in range(2):
        found = [book.on_demand(kind, region).price.usd_per_hour for kind, region in places]
        assert found == [0.34, 0.68, 0.192, 0.20736]
    assert asked.count == 4


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'"text"', b"null"])
def test_a_damaged_cache_is_asked_past_and_mended(tmp_path: Path, content: bytes) -> None:
    asked, file = Asked(), tmp_path / "prices.json"
    file.write_bytes(content)
    book = PriceBook(asked, {}, file)
    for _ in range(2):
        assert book.on_demand("c5.2xlarge", "us-east-1").price.usd_per_hour == 0.34
    assert asked.count == 1


def test_offline_an_old_price_serves_and_says_its_age(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "prices.json"
    PriceBook(listed, {}, file, clock).on_demand("c5.2xlarge", "us-east-1")
    clock.now += 40 * DAY
    offline = PriceBook(None, {}, file, clock)
    expected = Quote(Price(0.34, "AWS price list of 2026-11-24"), Basis.LIST)
    assert offline.on_demand("c5.2xlarge", "us-east-1") == expected
    with pytest.raises(PriceUnknown, match=r"m5.*without asking AWS.*aws\.price"):
        offline.on_demand("m5.xlarge", "us-east-1")


def test_without_a_file_prices_are_kept_for_the_run_alone() -> None:
    asked = Asked()
    for runs in (1, 2):
        book = PriceBook(asked, {}, None)
        for _ in range(2):
            assert book.on_demand("c5.2xlarge", "us-east-1").price.usd_per_hour == 0.34
        assert asked.count == runs


def test_several_batches_may_ask_at_once(tmp_path: Path) -> None:
    kinds = ["c5.2xlarge", "c5.4xlarge", "m5.xlarge", "c7i.2xlarge", "g4dn.xlarge", "t3.large"]
    for turn in range(20):
        book = PriceBook(listed, {}, tmp_path / f"prices-{turn}.json")
        with ThreadPoolExecutor(len(kinds)) as pool:
            assert all(pool.map(partial(book.on_demand, region="us-east-1"), kinds))


def test_a_kept_price_of_another_shape_is_asked_for_again(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    key = json.dumps(instance_filters("c5.2xlarge", "us-east-1"), sort_keys=True)
    file.write_text(json.dumps({key: {"usd": 1.0}}))
    book = PriceBook(listed, {}, file)
    assert book.on_demand("c5.2xlarge", "us-east-1").price.usd_per_hour == 0.34


def test_a_cache_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    book = PriceBook(listed, {}, tmp_path / "no" / "folder" / "prices.json")
    assert book.on_demand("c5.2xlarge", "us-east-1").price.usd_per_hour == 0.34


@pytest.mark.parametrize(("region", "month"), [("us-east-1", 0.08), ("eu-central-1", 0.0952)])
def test_a_disk_is_priced_by_gigabyte_and_hour(tmp_path: Path, region: str, month: float) -> None:
    book = PriceBook(listed, {}, tmp_path / "prices.json", lambda: NOVEMBER_24)
    quote = book.disk(region)
    assert quote.price.usd_per_hour == pytest.approx(month / 730)
    assert (quote.price.source, quote.basis) == ("AWS price list of 2026-11-24", Basis.LIST)


def test_only_storage_itself_is_a_disks_price() -> None:
    filters = disk_filters("us-east-1")
    for missing in ("productFamily", "volumeApiName", "regionCode"):
        found = listed({key: value for key, value in filters.items() if key != missing})
        with pytest.raises(PriceUnknown, match="products"):
            one_price(found, "gp3 storage", "GB-Mo", "")


@pytest.mark.parametrize(
    ("instance_type", "vcpus", "usd"),
    [
        ("t3.xlarge", 4, 4 * 0.6 * 0.05),
        ("t3.large", 2, 2 * 0.7 * 0.05),
        ("t3a.medium", 2, 2 * 0.8 * 0.05),
        ("t3.micro", 2, 2 * 0.9 * 0.05),
        ("t4g.2xlarge", 8, 8 * 0.6 * 0.05),
        ("t2.large", 2, 0.0),
        ("c5.2xlarge", 8, 0.0),
        ("m5.xlarge", 4, 0.0),
    ],
)
def test_a_burstable_machine_may_cost_more_than_its_price(
    instance_type: str, vcpus: int, usd: float
) -> None:
    assert surplus_per_hour(instance_type, vcpus) == pytest.approx(usd)
