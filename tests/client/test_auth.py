"""Tokens: minted, renewed, checked and never shown; and the arguments of a client."""

from __future__ import annotations

import jwt
import pytest

import reach_analytics as reach
from reach_analytics.client.auth import BearerAuth
from reach_analytics.errors import ConfigError

SECRET = "a shared secret of more than thirty-two bytes"


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def test_a_token_is_renewed_before_it_expires_and_not_sooner():
    clock = Clock()
    signer = reach.PartnerSigner(SECRET, "p", lifetime_s=3600, renew_before_s=120, clock=clock)
    first = signer()
    clock.time += 3479
    assert signer() == first
    clock.time += 1
    second = signer()
    assert second != first
    claims = jwt.decode(second, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert claims == {"partnerId": "p", "type": "partner", "iat": 1003480, "exp": 1007080}


def test_a_tenant_token_carries_the_documented_claims():
    signer = reach.TenantSigner(
        SECRET, "p", tenant_external_id="shop", external_id="u", email="u@x.org", name="U"
    )
    claims = jwt.decode(signer(), SECRET, algorithms=["HS256"])
    assert {k: v for k, v in claims.items() if k not in {"iat", "exp"}} == {
        "partnerId": "p",
        "tenantExternalId": "shop",
        "externalId": "u",
        "email": "u@x.org",
        "name": "U",
    }


def test_reprs_hide_the_secret_and_the_token():
    signer = reach.PartnerSigner(SECRET, "p")
    client = reach.Client(token=signer)
    shown = repr(signer) + repr(client) + repr(BearerAuth(signer)) + str(client)
    assert SECRET not in shown
    assert signer() not in shown


def test_renewal_after_expiry_is_refused():
    with pytest.raises(ValueError, match="renew_before_s"):
        reach.PartnerSigner(SECRET, "p", lifetime_s=60, renew_before_s=60)


@pytest.mark.parametrize("token", ["", "  ", "qqq qqq", "qqq\nqqq", "qqqü", 5, b"qqq"])
def test_invalid_tokens_are_refused_without_being_shown(token):
    with pytest.raises(ConfigError) as caught:
        BearerAuth(lambda: token).token()
    assert "qqq" not in str(caught.value)


def test_a_pasted_bearer_prefix_and_blanks_are_removed():
    assert BearerAuth(" Bearer abc.def \n").token() == "abc.def"


def test_the_environment_supplies_missing_arguments(monkeypatch):
    monkeypatch.setenv("REACH_TOKEN", "abc")
    monkeypatch.setenv("REACH_TENANT_ID", "t7")
    monkeypatch.setenv("REACH_BASE_URL", "https://reach.example/base/")
    client = reach.Client()
    assert (client.tenant_id, client.base_url) == ("t7", "https://reach.example/base")
    assert reach.Client(tenant_id="").tenant_id is None
    assert reach.Client(tenant_id="t8").tenant_id == "t8"


def test_a_shared_secret_in_the_environment_makes_a_partner_client(monkeypatch):
    monkeypatch.setenv("REACH_SHARED_SECRET", SECRET)
    monkeypatch.setenv("REACH_PARTNER_ID", "p")
    assert reach.Client().is_partner


def test_no_token_says_what_to_set():
    with pytest.raises(ConfigError, match=r"REACH_TOKEN.*REACH_SHARED_SECRET"):
        reach.Client()


@pytest.mark.parametrize(
    "url",
    [
        "http://api.embedreach.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "ftp://127.0.0.1",
        "api.embedreach.com",
        "https://",
        "https://user:secretword@api.embedreach.com",
        "https://api.embedreach.com?x=1",
    ],
)
def test_unsafe_addresses_are_refused(url):
    with pytest.raises(ConfigError) as caught:
        reach.Client(token="abc", base_url=url)
    assert "secretword" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
def test_plain_http_is_fine_on_this_machine(url):
    assert reach.Client(token="abc", base_url=url).base_url == url


def test_plain_http_elsewhere_can_be_allowed():
    assert reach.Client(token="abc", base_url="http://reach.example", allow_http=True)


@pytest.mark.parametrize("tenant_id", ["a b", "a\r\nX-Evil: 1", "ä"])
def test_tenant_ids_cannot_break_the_header(tenant_id):
    with pytest.raises(ConfigError, match="tenant_id"):
        reach.Client(token="abc", tenant_id=tenant_id)


def test_without_a_tenant_the_client_asks_for_one():
    with pytest.raises(ConfigError, match="which tenant"):
        reach.Client(token="abc").tenant_key  # noqa: B018
