"""What the callers of both APIs may expect; each check says what it shows."""

import gzip
import json
from collections.abc import Callable, Iterator
from email.message import Message

from tests.rehearsal.client import Response, build_event, send
from tests.rehearsal.gateway import MAX_BODY, SOURCE_IP, proxy_event
from tests.rehearsal.state import (
    find_api,
    function_name,
    is_hardened,
    is_invoked_by_permission,
    list_urls,
)
from tests.rehearsal.world import ORIGIN, World

Holds = Callable[[], bool]


def is_serving(world: World) -> bool:
    """Both public stages do, and neither of Zappa's own."""
    for path in ("/health", "/users"):
        public = [send(world, f"{url}{path}") for url in list_urls(world, "prod")]
        own = [
            send(world, f"{url}{role}{path}")
            for role, url in zip(
                world.topology.regions, list_urls(world, ""), strict=True
            )
        ]
        assert [each.status for each in public] == [200] * 2, public
        assert [each.status for each in own] == [429] * 2, own
    return True


def list_checks(world: World) -> Iterator[tuple[str, Holds]]:
    """What each caller may expect; every check names itself."""
    first, second = list_urls(world, "prod")
    yield (
        "an error of the application is a problem, as text",
        lambda: is_problem(send(world, f"{first}/nothing"), 404),
    )
    yield "which Zappa was told not to encode", lambda: _check_encoding(world)
    yield (
        "so is one of API Gateway's own, on the page of problems too",
        lambda: _check_gateway_error(world, first),
    )
    yield (
        "the application answers preflights and lets it read errors, and no other",
        lambda: _check_cross_origin(world, first),
    )
    yield (
        "UTF-8 and quotes survive both ways",
        lambda: _check_round_trip(world, first, second),
    )
    yield "a body that is not UTF-8 is refused as such", lambda: (
        send(
            world, f"{first}/users", "POST", b'{"name": "\xff\xfe"}',
            Content_Type="application/json",
        ).status == 400
    )  # fmt: skip
    yield "links keep the stage prod", lambda: _check_links(world, first, "/prod")
    yield "links keep a domain and its base path", lambda: _check_custom_domain(world)
    yield (
        "health is told to either kind of name, and no other name is served",
        lambda: _check_host_names(world),
    )
    yield (
        "the other Region serves its own name",
        lambda: (
            send(world, f"{second}/health").json["region"]
            == list(world.topology.regions.values())[1]
        ),
    )
    yield (
        "each front page may ask the other Region for its health",
        lambda: pages_name_each_other(world),
    )
    yield (
        "stages are limited, traced, logged and tagged",
        lambda: all(is_hardened(world, role) for role in world.topology.regions),
    )
    yield (
        "API Gateway leaves bodies as they are: with gzip asked for, the bytes of the ETag; "
        "with gzip sent, the API's refusal",
        lambda: _check_compression(world, first),
    )
    yield (
        "integrations have no credentials; each function lets its API's public stage in",
        lambda: all(is_invoked_by_permission(world, s) for s in world.topology.regions),
    )
    yield (
        "no line of the functions' logs names a person or a secret",
        lambda: _check_logs(world),
    )


def _check_encoding(world: World) -> bool:
    """API Gateway decodes an encoded body only for callers who accept it."""
    function = world.functions.get(
        world.topology.regions["primary"], function_name(world, "primary")
    )
    answer = function.invoke(build_event("/nothing"))
    return answer["statusCode"] == 404 and not answer.get("isBase64Encoded")


def _check_gateway_error(world: World, url: str) -> bool:
    too_large = send(
        world, f"{url}/users", "POST", b" " * (MAX_BODY + 1), Origin=ORIGIN,
        Content_Type="application/json",
    )  # fmt: skip
    assert is_problem(too_large, 413)
    # A constant of the deployment: it names the allowed origin, whoever asks.
    assert too_large.headers["Access-Control-Allow-Origin"] == ORIGIN
    page, _, anchor = too_large.json["type"].partition("#")
    host = url.removesuffix("/prod")
    return f'id="{anchor}"' in send(world, host + page).body.decode()


def _check_cross_origin(world: World, url: str) -> bool:
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://other.example", None)):
        found = [
            send(
                world, f"{url}/users", "OPTIONS",
                Origin=origin, Access_Control_Request_Method="POST",
            ),
            send(world, f"{url}/nothing", Origin=origin),
            send(world, f"{url}/users", "DELETE", Origin=origin),
            send(world, f"{url}/users", Origin=origin),
        ]  # fmt: skip
        assert [each.status for each in found] == [200, 404, 405, 200], found
        for each in found:
            assert each.headers["Access-Control-Allow-Origin"] == allowed, each
    return True


def pages_name_each_other(world: World) -> bool:
    """Each Region's page names the other's API, which lets that page read its health."""
    both = list_urls(world, "prod")
    for own, other in zip(both, both[::-1], strict=True):
        page = send(world, f"{own}/", Accept="text/html").body.decode()
        assert f'data-peer="{other}"' in page, page
        origin = own.removesuffix("/prod")
        health = send(world, f"{other}/health", Origin=origin)
        assert health.headers["Access-Control-Allow-Origin"] == origin, health.headers
    return True


def is_problem(answer: Response, status: int) -> bool:
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json", answer.headers
    assert answer.json["status"] == status, answer.body
    return True


def _check_round_trip(world: World, first: str, second: str) -> bool:
    name = 'Žofie "Δ" 名前 🚀'
    body = json.dumps({"name": name, "email": "utf8@example.com"}, ensure_ascii=False)
    made = send(
        world, f"{first}/users", "POST", body.encode(), Content_Type="application/json"
    )
    assert made.status == 201, made.body
    location = made.headers["Location"]
    host = first.removesuffix("/prod")
    assert location.startswith("/prod/users/"), location
    assert send(world, host + location).json["name"] == name
    other = second.removesuffix("/prod") + location
    return bool(send(world, other).json["name"] == name)


def _check_links(world: World, url: str, prefix: str) -> bool:
    links = send(world, f"{url}/").json["links"]
    assert all(link.startswith(f"{prefix}/") for link in links.values()), links
    page = send(world, f"{url}/users?limit=1").json
    assert page["next"].startswith(f"{prefix}/users?"), page
    host = url.rpartition("/")[0]
    return send(world, host + page["next"]).status == 200


def _check_custom_domain(world: World) -> bool:
    """A mapping is API Gateway's: the function sees the domain's host and paths."""
    region = world.topology.regions["primary"]
    function = world.functions.get(region, function_name(world, "primary"))
    for base in ("", "/v1"):
        event = proxy_event(
            "GET", "api.example.com", "prod", "/users", "limit=1", Message(), b""
        )
        event["path"] = event["requestContext"]["path"] = f"{base}/users"
        event["headers"]["Host"] = "api.example.com"
        event["multiValueHeaders"]["Host"] = ["api.example.com"]
        answer = function.invoke(event)
        assert answer["statusCode"] == 200, answer
        link = json.loads(answer["body"])["next"]
        assert link.startswith(f"{base}/users?"), link
    return True


def _check_host_names(world: World) -> bool:
    """API Gateway says by which name it routed: the Host must be that one."""
    for role, region in world.topology.regions.items():
        function = world.functions.get(region, function_name(world, role))
        own = f"{find_api(world, role).id}.execute-api.{region}.amazonaws.com"
        for routed in (own, "api.example.com"):
            for host in (routed, "rebound.example.com"):
                event = proxy_event(
                    "GET", routed, "prod", "/health", "", Message(), b""
                )
                event["multiValueHeaders"]["Host"] = [host]
                status = function.invoke(event)["statusCode"]
                assert status == (200 if host == routed else 400), (host, status)
    return True


def _check_compression(world: World, url: str) -> bool:
    user = send(world, f"{url}/users?limit=1").json["users"][0]["id"]
    plain = send(world, f"{url}/users/{user}")
    asked = send(world, f"{url}/users/{user}", Accept_Encoding="gzip")
    assert plain.headers["ETag"], plain.headers
    assert asked.headers["ETag"] == plain.headers["ETag"], asked.headers
    assert asked.headers["Content-Encoding"] is None, asked.headers
    assert asked.body == plain.body
    sent = send(
        world, f"{url}/users", "POST", gzip.compress(b"{}"), Content_Encoding="gzip",
        Content_Type="application/json",
    )  # fmt: skip
    return is_problem(sent, 415)


def requires_tokens(world: World, token: str) -> bool:
    for url in list_urls(world, "prod"):
        assert send(world, f"{url}/health").status == 200
        assert is_problem(send(world, f"{url}/users"), 401)
        bearer = f"Bearer {token}"
        assert send(world, f"{url}/users", Authorization=bearer).status == 200
        # No scope for it.
        assert send(world, f"{url}/users/export", Authorization=bearer).status == 403
    return True


def find_next_link(world: World, role: str) -> str:
    region = list(world.topology.regions).index(role)
    page = send(world, f"{list_urls(world, 'prod')[region]}/users?limit=1").json
    return str(page["next"])


def is_followed(world: World, cursor: str) -> bool:
    """Both Regions accept the link, whichever key they sign with at the moment."""
    hosts = [url.removesuffix("/prod") for url in list_urls(world, "prod")]
    found = [send(world, host + cursor).status for host in hosts]
    assert found == [200, 200], found
    return True


def _check_logs(world: World) -> bool:
    texts = [f.log.read_text() for _, f in world.functions.running.values()]
    keys = [key["AWS_SECRET_ACCESS_KEY"] for key in world.keys.values()]
    for text in texts:
        counted = [line for line in text.splitlines() if '"Requests":1' in line]
        assert counted, text[-2000:]
        for private in ("example.com", SOURCE_IP, "Žofie", "X-Amz-Signature", *keys):
            assert private not in text, private
    return True
