import asyncio
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Webhook
from sightline.jobs.webhooks.address_guard import AddressGuard, AddressRefusedError, GuardedResolver, validate_webhook
from sightline.jobs.webhooks.delivery_queue import receiver_origin

NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
]
NOT_PUBLIC_6 = [
    "::",
    "::1",
    "::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def disguises(address: IPv4Address) -> list[IPv6Address]:
    number = int(address)
    return [
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(int(IPv6Address("64:ff9b::")) | number),
        IPv6Address(0x2002 << 112 | number << 80 | 1),
    ]


@pytest.mark.parametrize("address", NOT_PUBLIC + NOT_PUBLIC_6)
def test_private_addresses_are_refused(address: str) -> None:
    assert not AddressGuard().permits(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_embedded_private_address_is_refused(address: str) -> None:
    assert not any(AddressGuard().permits(disguise) for disguise in disguises(IPv4Address(address)))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    assert AddressGuard().permits(ip_address(address))


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_embedded_ipv4_address_is_judged_like_the_plain_one(address: IPv4Address) -> None:
    guard = AddressGuard([IPv4Network("10.0.0.0/8")])
    assert {guard.permits(disguise) for disguise in disguises(address)} == {guard.permits(address)}


def test_networks_can_be_allowed() -> None:
    guard = AddressGuard([IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8")])
    assert guard.permits(ip_address("10.1.2.3"))
    assert guard.permits(ip_address("fd12::1"))
    assert not guard.permits(ip_address("192.168.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "//example.org/",
        "/path",
        "http:///path",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_addresses_that_are_never_called(url: str) -> None:
    with pytest.raises(AddressRefusedError):
        AddressGuard().check(URL(url))


@pytest.mark.parametrize("url", ["http://example.org/", "https://example.org:8443/hook?a=b", "https://1.1.1.1/"])
def test_addresses_that_may_be_called(url: str) -> None:
    AddressGuard().check(URL(url))


def resolved(addresses: list[str]) -> list[str]:
    async def resolve() -> list[str]:
        resolver = GuardedResolver(AddressGuard(), threads=1, refusal_s=1, lookup=lambda _: addresses)
        try:
            return [result["host"] for result in await resolver.resolve("example.org", 443)]
        finally:
            await resolver.close()

    return asyncio.run(resolve())


def test_a_name_gives_its_addresses() -> None:
    assert resolved(PUBLIC) == PUBLIC


def test_one_bad_address_spoils_a_name() -> None:
    with pytest.raises(AddressRefusedError, match="does not resolve to a public address"):
        resolved([*PUBLIC, "10.0.0.1"])


@pytest.mark.parametrize("name", ["localhost", "127.1", "0x7f.1", "2130706433", "0"])
def test_names_of_this_machine_are_refused(name: str) -> None:
    async def resolve() -> None:
        resolver = GuardedResolver(AddressGuard(), threads=1, refusal_s=0.01)
        try:
            await resolver.resolve(name)
        finally:
            await resolver.close()

    with pytest.raises(AddressRefusedError):
        asyncio.run(resolve())


def test_a_name_that_cannot_be_one_is_refused() -> None:
    async def resolve() -> None:
        resolver = GuardedResolver(AddressGuard(), threads=1, refusal_s=0.01)
        try:
            await resolver.resolve("é" * 80)
        finally:
            await resolver.close()

    with pytest.raises(AddressRefusedError):
        asyncio.run(resolve())


def test_a_usable_webhook_is_taken_as_it_is() -> None:
    url = "https://example.org/hook?token=a%2Fb"
    assert validate_webhook(url, SECRET, AddressGuard()) == Webhook(url, SECRET)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://example.org:port/", SECRET),
        ("not a url", SECRET),
        ("", SECRET),
        ("https://10.0.0.1/", SECRET),
        ("https://example.org/" + "a" * 2048, SECRET),
        ("https://example.org/", "hunter2"),
    ],
    ids=["port", "words", "empty", "private", "long", "secret"],
)
def test_invalid_webhook_is_refused_without_being_quoted(url: str, secret: str) -> None:
    with pytest.raises(Problem) as caught:
        validate_webhook(url, secret, AddressGuard())
    assert caught.value.code is Code.INVALID_REQUEST
    assert not url or url not in caught.value.detail
    assert secret not in caught.value.detail


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://Example.org/a?b=c", "https://example.org"),
        ("https://example.org:443/d", "https://example.org"),
        ("http://example.org/a", "http://example.org"),
        ("https://example.org:8443/a", "https://example.org:8443"),
    ],
)
def test_receiver_origin_is_scheme_host_and_port(url: str, receiver: str) -> None:
    assert receiver_origin(Webhook(url, SECRET)) == receiver
