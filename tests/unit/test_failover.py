"""What a refusal means, in which order rungs are tried, and what batches learn from each other."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.models import Market, Refusal, Rung, Verdict
from cloudburst.targets.aws.refusals import (
    advice,
    code_of,
    diagnose,
    family,
    of_code,
    of_end,
    verdict,
)
from cloudburst.targets.aws.rungs import rungs
from cloudburst.targets.aws.settings import AwsSettings
from cloudburst.targets.failover import CLOSED_FOR, Ladder

CAPACITY = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "UnfulfillableCapacity",
    "Unsupported",
    "SpotMaxPriceTooLow",
    "InsufficientFreeAddressesInSubnet",
    "Server.InsufficientInstanceCapacity",
    "Server.SpotInstanceTermination",
    "Server.InternalError",
    "UnsupportedOperation",
    "InsufficientAddressCapacity",
]
VCPUS = ["VcpuLimitExceeded", "MaxSpotInstanceCountExceeded"]
QUOTA = ["InstanceLimitExceeded"]
LATER = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "InternalError",
    "ConcurrentTagAccess",
    "InvalidAMIID.Unavailable",
    "ResourceCountExceeded",
    "RequestResourceCountExceeded",
    "DependencyViolation",
    "InvalidGroup.Duplicate",
    "InvalidGroup.NotFound",
    "InvalidPermission.Duplicate",
    "InvalidPermission.NotFound",
]
REGION = ["VPCIdNotSpecified", "MissingInput"]
FINAL = [
    "UnauthorizedOperation",
    "AuthFailure",
    "RequestExpired",
    "ExpiredToken",
    "InvalidAMIID.NotFound",
    "InvalidParameterValue",
    "InvalidSubnetID.NotFound",
    "OptInRequired",
    "PendingVerification",
    "Blocked",
    "AccountBlocked",
    "ACodeOfTheFuture",
]


FULL = """creating EC2 Instance: operation error EC2: RunInstances, https response error \
StatusCode: 500, RequestID: 1-2, api error InsufficientInstanceCapacity: We currently do not \
have sufficient c5.2xlarge capacity in the Availability Zone you requested (us-east-1a)."""
ENDED = """waiting for EC2 Instance (i-0abc) create: unexpected state 'terminated', wanted target \
'running'. last error: Server.InternalError: Internal error on launch"""
NO_IMAGE = """operation error EC2: RunInstances, https response error StatusCode: 400, \
RequestID: 1-2, api error InvalidAMIID.NotFound: The image id '[ami-1]' does not exist"""


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (FULL, "InsufficientInstanceCapacity"),
        (ENDED, "Server.InternalError"),
        (NO_IMAGE, "InvalidAMIID.NotFound"),
        ("gone: Client.InstanceInitiatedShutdown: by itself", "Client.InstanceInitiatedShutdown"),
        ("dial tcp: lookup ec2.us-east-1.amazonaws.com: no such host", None),
        ("the server. It is gone", None),
        ("", None),
    ],
)
def test_the_providers_code_is_found_in_its_words(message: str, code: str | None) -> None:
    assert code_of(message) == code


@pytest.mark.parametrize("code", CAPACITY)
def test_no_capacity_means_the_next_rung(code: str) -> None:
    assert verdict(code) is Verdict.NEXT


@pytest.mark.parametrize("code", QUOTA)
def test_a_full_quota_means_another_family(code: str) -> None:
    assert verdict(code) is Verdict.SKIP_FAMILY


@pytest.mark.parametrize("code", VCPUS)
def test_a_full_quota_of_vcpus_means_a_smaller_type(code: str) -> None:
    assert verdict(code) is Verdict.SKIP_LARGER


@pytest.mark.parametrize("code", REGION)
def test_without_a_default_vpc_another_region_is_tried(code: str) -> None:
    assert verdict(code) is Verdict.SKIP_REGION
    assert "aws.subnet" in advice(code)


def test_the_role_for_spot_instances_is_missing_for_spot_only() -> None:
    code = "AuthFailure.ServiceLinkedRoleCreationNotPermitted"
    assert verdict(code) is Verdict.SKIP_MARKET
    assert "create-service-linked-role --aws-service-name spot.amazonaws.com" in advice(code)


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("InsufficientFutureCapacity", 500, Verdict.NEXT),
        ("NoCapacityToday", 400, Verdict.NEXT),
        ("SomethingBroke", 503, Verdict.WAIT),
        ("SomethingBroke", 500, Verdict.WAIT),
        ("SomethingIsWrong", 400, Verdict.STOP),
        ("SomethingIsWrong", 0, Verdict.STOP),
        ("UnauthorizedOperation", 503, Verdict.STOP),
    ],
)
def test_a_code_that_aws_adds_is_sorted_by_its_words_and_its_http_status(
    code: str, status: int, meaning: Verdict
) -> None:
    message = (
        f"operation error EC2: X, https response error StatusCode: {status}, api error {code}: "
    )
    assert diagnose(message).verdict is meaning
    assert of_code(code, message, status).verdict is meaning


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("... with an explicit deny in a service control policy", "service control policy"),
        ("because no permissions boundary allows the action", "permissions boundary"),
        ("The tag policy does not allow the specified value", "aws.tags"),
        ("no identity-based policy allows the action", "give the caller the policy in docs/aws.md"),
    ],
)
def test_the_kind_of_policy_that_denies_decides_what_helps(message: str, words: str) -> None:
    assert words in diagnose(f"api error UnauthorizedOperation: {message}").advice


@pytest.mark.parametrize("code", ["Client.InternalError", "Client.InvalidKMSKey.InvalidState"])
def test_a_disk_that_cannot_be_encrypted_is_named(code: str) -> None:
    message = f"unexpected state 'terminated'. last error: {code}: Client error on launch"
    refusal = diagnose(message)
    assert refusal.code == code
    assert "KMS key" in refusal.advice
    assert refusal.verdict is (Verdict.ONCE if code == "Client.InternalError" else Verdict.STOP)


def test_an_expired_session_asks_for_a_login() -> None:
    for code in ("RequestExpired", "ExpiredToken", "ExpiredTokenException"):
        assert advice(code).startswith("log in again: aws sso login")


@pytest.mark.parametrize("code", LATER)
def test_throttling_means_the_same_rung_later(code: str) -> None:
    assert verdict(code) is Verdict.WAIT


@pytest.mark.parametrize("code", FINAL)
def test_what_no_other_rung_would_change_stops_at_once(code: str) -> None:
    assert verdict(code) is Verdict.STOP


@pytest.mark.parametrize(
    "message",
    [
        "read tcp 10.0.0.1:443: i/o timeout",
        "context deadline exceeded",
        "read: connection reset by peer",
        "dial tcp: connect: connection refused",
        "request send failed",
        "unexpected EOF",
        "dial tcp: lookup ec2.amazonaws.com: no such host",
        "exceeded maximum number of attempts, 3",
    ],
)
def test_without_a_code_a_broken_connection_is_waited_for(message: str) -> None:
    assert code_of(message) is None
    assert verdict(None, message) is Verdict.WAIT


@pytest.mark.parametrize("message", ["", "the program raised ZeroDivisionError", "no capacity"])
def test_without_a_code_other_words_end_the_batch_and_not_the_run(message: str) -> None:
    assert verdict(None, message) is Verdict.FAIL


def test_a_code_counts_more_than_the_words_around_it() -> None:
    assert verdict("UnauthorizedOperation", "timed out") is Verdict.STOP


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("Blocked", "AWS has blocked this account"),
        ("AccountBlocked", "AWS has blocked this account"),
        ("PendingVerification", "AWS is still verifying this account for the region"),
        (
            "OptInRequired",
            "this account is not signed up for EC2, or not subscribed to the machine",
        ),
    ],
)
def test_what_is_wrong_with_an_account_comes_before_the_engines_words(
    code: str, cause: str
) -> None:
    message = f"creating EC2 Instance: api error {code}: the words of AWS"
    refusal = diagnose(message)
    assert refusal == of_code(code, message)
    assert refusal.cause.startswith(cause)
    assert "docs/aws.md, Suspended accounts" in refusal.advice
    assert refusal.explain(message) == f"{refusal.cause}: {refusal.advice}. {message}"


@pytest.mark.parametrize(
    "code",
    [
        "BlockedByPolicy",
        "Blocked.Future",
        "blocked",
        "OptInRequiredSoon",
        "UnauthorizedOperation",
        "AuthFailure",
        "ACodeOfTheFuture",
        None,
    ],
)
def test_no_other_code_says_that_the_account_is_blocked(code: str | None) -> None:
    message = "Blocked: your account is blocked, PendingVerification and suspended"
    assert of_code(code, message).cause == ""
    if code:
        refusal = diagnose(f"operation error EC2: RunInstances, api error {code}: {message}")
        assert (refusal.code, refusal.cause) == (code, "")
        assert refusal.explain("words").startswith("words")


def test_the_free_plan_is_named_as_what_refuses_a_type() -> None:
    message = (
        "creating EC2 Instance: operation error EC2: RunInstances, https response error "
        "StatusCode: 400, api error InvalidParameterCombination: The specified instance type is "
        "not eligible for Free Tier. For a list of Free Tier instance types, run "
        "'describe-instance-types' with the filter 'free-tier-eligible=true'."
    )
    refusal = diagnose(message)
    assert (refusal.code, refusal.verdict) == ("InvalidParameterCombination", Verdict.STOP)
    assert "upgrade it to the paid plan" in refusal.advice
    assert "aws.instance_types" in refusal.advice
    assert advice("InvalidParameterCombination", "another one") == ""


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("with an explicit deny in a resource control policy", "resource control policy"),
        ("because no session policy allows the ec2:RunInstances action", "session"),
        ("with an explicit deny in a VPC endpoint policy", "VPC endpoint"),
        ("because no identity-based policy allows the ec2:RunInstances action", "docs/aws.md"),
    ],
)
def test_the_policy_that_denies_is_named(words: str, fix: str) -> None:
    assert fix in advice("UnauthorizedOperation", f"You are not authorized … {words}")


def test_advice_is_given_where_a_person_can_do_something() -> None:
    assert advice("UnauthorizedOperation") == "give the caller the policy in docs/aws.md"
    assert advice("InvalidAMIID.NotFound") == "check aws.ami in scenes.yaml; AMIs differ by region"
    assert advice("ACodeOfTheFuture") == ""
    assert advice(None) == ""


@pytest.mark.parametrize(
    ("instance_type", "name"),
    [
        ("c5.2xlarge", "standard"),
        ("c7gn.xlarge", "standard"),
        ("m5.xlarge", "standard"),
        ("t3.large", "standard"),
        ("r6i.large", "standard"),
        ("im4gn.large", "standard"),
        ("g4dn.xlarge", "g"),
        ("g5.xlarge", "g"),
        ("gr6.4xlarge", "g"),
        ("vt1.3xlarge", "g"),
        ("p3.2xlarge", "p"),
        ("inf1.xlarge", "inf"),
        ("trn1.2xlarge", "trn"),
        ("dl1.24xlarge", "dl"),
        ("hpc7a.96xlarge", "hpc"),
        ("mac2.metal", "mac"),
        ("x2idn.16xlarge", "x"),
        ("u-6tb1.metal", "u"),
    ],
)
def test_a_family_is_what_shares_a_quota(instance_type: str, name: str) -> None:
    assert family(instance_type) == name


SETTINGS = AwsSettings(
    regions=("us-west-2", "us-east-1"),
    markets=("spot", "on-demand"),
    instance_types=("m5.xlarge", "c5.2xlarge"),
)
OFFERS = {
    ("us-east-1", "m5.xlarge"): {"us-east-1b", "us-east-1a"},
    ("us-east-1", "c5.2xlarge"): {"us-east-1b"},
    ("us-west-2", "m5.xlarge"): {"us-west-2a"},
}


def lines(asked: AwsSettings) -> list[str]:
    return [str(rung) for rung in rungs(asked, OFFERS)]


def test_the_last_axis_changes_with_every_rung() -> None:
    assert lines(SETTINGS) == [
        "m5.xlarge spot in us-west-2a",
        "m5.xlarge on-demand in us-west-2a",
        "m5.xlarge spot in us-east-1a",
        "m5.xlarge spot in us-east-1b",
        "c5.2xlarge spot in us-east-1b",
        "m5.xlarge on-demand in us-east-1a",
        "m5.xlarge on-demand in us-east-1b",
        "c5.2xlarge on-demand in us-east-1b",
    ]


def test_the_user_says_which_axis_comes_first() -> None:
    asked = AwsSettings(
        regions=SETTINGS.regions,
        markets=SETTINGS.markets,
        instance_types=SETTINGS.instance_types,
        order=("type", "zone", "market", "region"),
    )
    assert lines(asked) == [
        "m5.xlarge spot in us-east-1a",
        "m5.xlarge on-demand in us-east-1a",
        "m5.xlarge spot in us-east-1b",
        "m5.xlarge on-demand in us-east-1b",
        "m5.xlarge spot in us-west-2a",
        "m5.xlarge on-demand in us-west-2a",
        "c5.2xlarge spot in us-east-1b",
        "c5.2xlarge on-demand in us-east-1b",
    ]


def test_zones_that_are_named_are_tried_as_named_and_no_others() -> None:
    asked = AwsSettings(
        regions=("us-east-1",),
        instance_types=("m5.xlarge", "c5.2xlarge"),
        zones=("us-east-1b", "us-east-1a", "us-east-1f"),
    )
    assert lines(asked) == [
        "m5.xlarge on-demand in us-east-1b",
        "m5.xlarge on-demand in us-east-1a",
        "c5.2xlarge on-demand in us-east-1b",
    ]


def test_a_rung_knows_its_region() -> None:
    assert {(rung.region, rung.zone) for rung in rungs(SETTINGS, OFFERS)} == {
        ("us-east-1", "us-east-1a"),
        ("us-east-1", "us-east-1b"),
        ("us-west-2", "us-west-2a"),
    }


REGIONS = ("us-east-1", "us-west-2", "eu-central-1")
TYPES = ("c5.2xlarge", "m5.xlarge", "g4dn.xlarge")
MARKETS: tuple[Market, ...] = ("spot", "on-demand")


@given(
    regions=st.permutations(REGIONS),
    types=st.permutations(TYPES),
    markets=st.permutations(MARKETS),
    order=st.permutations(("region", "market", "type", "zone")),
    letters=st.lists(st.sets(st.sampled_from("abc")), min_size=9, max_size=9),
)
def test_every_rung_that_can_exist_is_there_once_in_any_order(
    regions: list[str],
    types: list[str],
    markets: list[Market],
    order: list[str],
    letters: list[set[str]],
) -> None:
    places = list(product(REGIONS, TYPES))
    offers = {
        (region, kind): {f"{region}{letter}" for letter in some}
        for (region, kind), some in zip(places, letters, strict=True)
    }
    asked = AwsSettings(
        regions=tuple(regions),
        markets=tuple(markets),
        instance_types=tuple(types),
        order=tuple(order),  # type: ignore[arg-type]
    )
    laid = rungs(asked, offers)
    assert len(laid) == len(set(laid))
    assert set(laid) == {
        Rung(kind, market, region, zone)
        for (region, kind), zones in offers.items()
        for zone in zones
        for market in MARKETS
    }


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


A = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
B = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1b")
C = Rung("m5.xlarge", "on-demand", "us-east-1", "us-east-1a")


def test_rungs_are_picked_in_order_and_those_that_were_tried_are_not() -> None:
    ladder = Ladder([A, B, C], Clock())
    assert ladder.pick() == A
    assert ladder.pick({A}) == B
    assert ladder.pick({A, C}) == B
    assert ladder.pick({A, B, C}) is None


def test_what_one_batch_found_closed_the_others_do_not_try_first() -> None:
    ladder = Ladder([A, B, C], Clock())
    assert ladder.close(A, Verdict.NEXT) == (A,)
    assert ladder.pick() == B


def test_a_closed_rung_opens_again_after_a_while() -> None:
    clock = Clock()
    ladder = Ladder([A, B, C], clock)
    ladder.close(A, Verdict.NEXT)
    clock.now += CLOSED_FOR - 1
    assert ladder.pick() == B
    clock.now += 1
    assert ladder.pick() == A
    assert CLOSED_FOR == 300


def test_a_closed_rung_is_tried_all_the_same_when_no_other_is_left() -> None:
    ladder = Ladder([A, B, C], Clock())
    for rung in (A, B, C):
        ladder.close(rung, Verdict.NEXT)
    assert ladder.pick({A}) == B
    assert ladder.pick({A, B, C}) is None


def test_a_quota_closes_its_family_in_its_region_and_market_alone() -> None:
    same_family = Rung("m5.xlarge", "spot", "us-east-1", "us-east-1b")
    others = [
        Rung("g4dn.xlarge", "spot", "us-east-1", "us-east-1a"),
        C,
        Rung("c5.2xlarge", "spot", "us-west-2", "us-west-2a"),
    ]
    ladder = Ladder([A, B, same_family, *others], Clock(), family)
    assert ladder.close(A, Verdict.SKIP_FAMILY) == (A, B, same_family)
    assert ladder.pick() == others[0]
    assert ladder.pick({others[0]}) == others[1]
    assert ladder.pick(others[:2]) == others[2]


def test_without_families_a_quota_closes_its_own_type_alone() -> None:
    other_type = Rung("m5.xlarge", "spot", "us-east-1", "us-east-1b")
    ladder = Ladder([A, B, other_type], Clock())
    assert ladder.close(A, Verdict.SKIP_FAMILY) == (A, B)
    assert ladder.pick() == other_type


def test_once_stopped_no_rung_will_do_and_the_first_reason_stays() -> None:
    ladder = Ladder([A, B], Clock())
    assert ladder.stopped == ""
    ladder.stop("not allowed")
    ladder.stop("something else")
    assert ladder.pick() is None
    assert ladder.stopped == "not allowed"


def test_gos_own_timeout_is_no_code_of_awss() -> None:
    words = (
        'Post "https://ec2.us-east-1.amazonaws.com/": context deadline exceeded '
        "(Client.Timeout exceeded while awaiting headers)"
    )
    assert code_of(words) is None
    assert verdict(None, words) is Verdict.WAIT


@pytest.mark.parametrize(
    ("code", "message", "meaning"),
    [
        ("InvalidInput", "No default subnet for availability zone: 'us-east-1e'.", Verdict.NEXT),
        ("InvalidInput", "The parameter is wrong", Verdict.STOP),
        ("InsufficientVolumeCapacity", "", Verdict.NEXT),
        ("InvalidInstanceID.NotFound", "", Verdict.WAIT),
        (None, "timeout while waiting for state to become 'running'", Verdict.NEXT),
        (None, "rpc error: code = Unavailable desc = error reading from server: EOF", Verdict.WAIT),
        (None, "Connection was closed before we received a valid response", Verdict.WAIT),
    ],
)
def test_words_decide_where_a_code_does_not(
    code: str | None, message: str, meaning: Verdict
) -> None:
    assert verdict(code, message) is meaning


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        (FULL, Refusal("InsufficientInstanceCapacity", Verdict.NEXT)),
        ("read tcp 10.0.0.1:443: i/o timeout", Refusal(None, Verdict.WAIT, transient=True)),
        (
            "api error RequestLimitExceeded: slow down",
            Refusal("RequestLimitExceeded", Verdict.WAIT),
        ),
        ("timeout while waiting for state to become 'running'", Refusal(None, Verdict.NEXT)),
        ("the program raised ZeroDivisionError", Refusal()),
        (
            "api error ExpiredToken: The token has expired",
            Refusal("ExpiredToken", Verdict.STOP, advice="log in again: aws sso login"),
        ),
    ],
)
def test_an_engines_message_is_transient_only_if_nobody_answered(
    message: str, refusal: Refusal
) -> None:
    assert diagnose(message) == refusal


@pytest.mark.parametrize(
    ("code", "message", "refusal"),
    [
        (None, "could not connect to the endpoint", Refusal(None, Verdict.WAIT, transient=True)),
        (None, "i-1 did not terminate within 180 s", Refusal(None, Verdict.FAIL, transient=True)),
        ("Throttling", "connection reset by peer", Refusal("Throttling", Verdict.WAIT)),
        ("ACodeOfTheFuture", "", Refusal("ACodeOfTheFuture", Verdict.STOP)),
        ("", "an answer without a code", Refusal("", Verdict.STOP)),
    ],
)
def test_an_apis_error_is_transient_only_without_a_code(
    code: str | None, message: str, refusal: Refusal
) -> None:
    assert of_code(code, message) == refusal


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("", Refusal(None, Verdict.NEXT)),
        ("Server.SpotInstanceTermination", Refusal("Server.SpotInstanceTermination", Verdict.NEXT)),
        (
            "Client.InstanceInitiatedShutdown",
            Refusal(
                "Client.InstanceInitiatedShutdown",
                Verdict.NEXT,
                advice="it ended itself: nothing asked for it for ten minutes, or its lease was "
                "over: keep this program connected, or raise aws.lease_minutes",
            ),
        ),
    ],
)
def test_the_end_of_a_machine_leaves_the_other_rungs(code: str, refusal: Refusal) -> None:
    assert of_end(code) == refusal


D = Rung("m5.large", "spot", "us-east-1", "us-east-1a")
E = Rung("c5.2xlarge", "on-demand", "us-east-1", "us-east-1a")
F = Rung("c5.2xlarge", "spot", "us-west-2", "us-west-2a")
VCPU_COUNTS = {"c5.2xlarge": 8, "m5.xlarge": 4, "m5.large": 2}


@pytest.mark.parametrize(
    ("meaning", "closed"),
    [
        (Verdict.NEXT, {A}),
        (Verdict.SKIP_LARGER, {A, B}),
        (Verdict.SKIP_FAMILY, {A, B, D}),
        (Verdict.SKIP_MARKET, {A, B, D, F}),
        (Verdict.SKIP_REGION, {A, B, C, D, E}),
    ],
)
def test_a_refusal_closes_what_would_be_refused_alike(meaning: Verdict, closed: set[Rung]) -> None:
    ladder = Ladder([A, B, C, D, E, F], Clock(), family, VCPU_COUNTS.__getitem__)
    assert set(ladder.close(A, meaning)) == closed


def test_some_refusals_are_forgiven_once_by_all_batches_together() -> None:
    ladder = Ladder([A], Clock())
    assert ladder.is_first("Client.InternalError")
    assert not ladder.is_first("Client.InternalError")
    assert ladder.is_first("another")


ON_DEMAND = [
    Rung(kind, "on-demand", "us-east-1", "us-east-1a")
    for kind in ("c5.2xlarge", "m5.xlarge", "m5.large")
]
QUOTA_KEY = ("us-east-1", "on-demand", "standard")


def bounded(vcpus: float) -> Ladder:
    return Ladder(
        ON_DEMAND, Clock(), family, VCPU_COUNTS.__getitem__, allowances={QUOTA_KEY: vcpus}
    )


@pytest.mark.parametrize(
    ("vcpus", "types"),
    [
        (5, ["m5.xlarge"]),
        (1, []),
        (8, ["c5.2xlarge"]),
        (15, ["c5.2xlarge", "m5.xlarge", "m5.large"]),
        (32, ["c5.2xlarge"] * 4),
    ],
)
def test_what_does_not_fit_the_quota_is_not_tried(vcpus: float, types: list[str]) -> None:
    ladder = bounded(vcpus)
    assert ladder.fitting(5) == len(types)
    assert ladder.fitting(5) == len(types), "asking takes nothing"
    reserved = [ladder.reserve() for _ in range(5)]
    assert [rung.type for rung in reserved if rung] == types


def test_a_worker_that_has_ended_makes_room_for_another() -> None:
    ladder = bounded(8)
    first = ladder.reserve()
    assert first is not None
    assert ladder.reserve() is None
    assert ladder.is_full()
    ladder.release(first)
    assert ladder.reserve() == first
    assert not ladder.is_full(ON_DEMAND), "everything was tried"


def test_what_can_never_fit_is_not_waited_for() -> None:
    ladder = bounded(1)
    assert ladder.reserve() is None
    assert not ladder.is_full()


def test_a_quota_that_is_not_known_is_found_out_by_trying() -> None:
    ladder = Ladder(ON_DEMAND, Clock(), family, VCPU_COUNTS.__getitem__)
    assert [ladder.reserve() for _ in range(20)] == [ON_DEMAND[0]] * 20


def test_a_worker_of_an_earlier_session_counts() -> None:
    ladder = bounded(12)
    ladder.hold(ON_DEMAND[0])
    assert ladder.reserve() == ON_DEMAND[1]


@pytest.mark.parametrize("cause", ["", "AWS has blocked this account"])
def test_a_message_gets_its_advice_once(cause: str) -> None:
    refusal = Refusal(
        "Blocked", Verdict.STOP, advice="only AWS Support can unblock it", cause=cause
    )
    explained = refusal.explain("Blocked: no")
    assert explained.count(refusal.advice) == 1
    assert explained.startswith(cause)
    assert refusal.explain(explained) == explained
    assert Refusal("Blocked").explain("Blocked: no") == "Blocked: no"
