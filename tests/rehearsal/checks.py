"""What must hold of a deployment, seen from outside and in moto's state."""

import gzip
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any

from moto.apigateway.models import apigateway_backends
from moto.awslambda.models import lambda_backends
from moto.cloudformation.models import cloudformation_backends
from moto.events.models import events_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends
from moto.secretsmanager.models import secretsmanager_backends

from ops.local.sandbox.control_store import load
from ops.policies import PURPOSES, Scope
from ops.sandbox_status import CLUSTERS
from tests.rehearsal.gateway import (
    ACCOUNT,
    MAX_BODY,
    SOURCE_IP,
    may_invoke,
    proxy_event,
)
from tests.rehearsal.lambda_service import Function
from tests.rehearsal.world import ORIGIN, World

ROUNDS = 3
Holds = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class ColdStart:
    """CPU seconds of one new environment."""

    init: float
    first: float


def function_name(world: World, stage: str) -> str:
    return world.topology.function(stage)[1]


def made(world: World, stage: str) -> Any:
    """The function as moto has it."""
    region, name = world.topology.function(stage)
    return lambda_backends[ACCOUNT][region].get_function(name)


def api(world: World, stage: str) -> Any:
    """The one API of that stage's Region."""
    region = world.topology.regions[stage]
    (found,) = apigateway_backends[ACCOUNT][region].apis.values()
    return found


def urls(world: World, gateway_stage: str) -> list[str]:
    return [
        f"https://{api(world, stage).id}.execute-api.{region}.amazonaws.com/{gateway_stage}"
        for stage, region in world.topology.regions.items()
    ]


def ask(
    world: World, url: str, method: str = "GET", body: bytes | None = None,
    **headers: str,
) -> Answer:  # fmt: skip
    context = ssl.create_default_context(cafile=world.internet.certificates.authority)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": world.internet.url}),
        urllib.request.HTTPSHandler(context=context),
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named, method=method)
    try:
        with opener.open(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


def placed(world: World) -> bool:
    """Every API, function and bucket lies in its stage's Region, and none elsewhere."""
    for stage, region in world.topology.regions.items():
        functions = [
            f.function_name for f in lambda_backends[ACCOUNT][region].list_functions()
        ]
        apis = [a.name for a in apigateway_backends[ACCOUNT][region].apis.values()]
        assert functions == [function_name(world, stage)], (region, functions)
        assert apis == [function_name(world, stage)], (region, apis)
    return True


def created(world: World) -> Iterator[str]:
    for stage, region in world.topology.regions.items():
        stages = ", ".join(api(world, stage).stages)
        yield f"{region}: cluster, function {function_name(world, stage)}, stages {stages}"
    yield f"{len(iam_backends[ACCOUNT]['aws'].roles)} roles"
    yield f"{sum(len(s.secrets) for s in _secrets(world))} copies of one secret"


def serves(world: World) -> bool:
    """Both public stages do, and neither of Zappa's own."""
    for path in ("/health", "/users"):
        public = [ask(world, f"{url}{path}") for url in urls(world, "prod")]
        own = [
            ask(world, f"{url}{stage}{path}")
            for stage, url in zip(world.topology.regions, urls(world, ""), strict=True)
        ]
        assert [each.status for each in public] == [200] * 2, public
        assert [each.status for each in own] == [429] * 2, own
    return True


def of_the_api(world: World) -> Iterator[tuple[str, Holds]]:
    """What each caller may expect; every check names itself."""
    first, second = urls(world, "prod")
    yield (
        "an error of the application is a problem, as text",
        lambda: _is_problem(ask(world, f"{first}/nothing"), 404),
    )
    yield "which Zappa was told not to encode", lambda: _not_encoded(world)
    yield (
        "so is one of API Gateway's own, on the page of problems too",
        lambda: _is_gateways(world, first),
    )
    yield (
        "the application answers preflights and lets it read errors, and no other",
        lambda: _cross_origin(world, first),
    )
    yield (
        "UTF-8 and quotes survive both ways",
        lambda: _round_trip(world, first, second),
    )
    yield "a body that is not UTF-8 is refused as such", lambda: (
        ask(
            world, f"{first}/users", "POST", b'{"name": "\xff\xfe"}',
            Content_Type="application/json",
        ).status == 400
    )  # fmt: skip
    yield "links keep the stage prod", lambda: _links(world, first, "/prod")
    yield "links keep a domain and its base path", lambda: _custom_domain(world)
    yield (
        "health is told to either kind of name, and no other name is served",
        lambda: _names(world),
    )
    yield (
        "the other Region serves its own name",
        lambda: (
            ask(world, f"{second}/health").json["region"]
            == list(world.topology.regions.values())[1]
        ),
    )
    yield (
        "each front page may ask the other Region for its health",
        lambda: know_each_other(world),
    )
    yield (
        "stages are limited, traced, logged and tagged",
        lambda: all(hardened(world, stage) for stage in world.topology.regions),
    )
    yield (
        "API Gateway leaves bodies as they are: with gzip asked for, the bytes of the ETag; "
        "with gzip sent, the API's refusal",
        lambda: _not_compressed(world, first),
    )
    yield (
        "integrations have no credentials; each function lets its API's public stage in",
        lambda: all(invoked_by_permission(world, s) for s in world.topology.regions),
    )
    yield (
        "no line of the functions' logs names a person or a secret",
        lambda: _logs_are_clean(world),
    )


def _not_encoded(world: World) -> bool:
    """API Gateway decodes an encoded body only for callers who accept it."""
    function = world.functions.get(
        world.topology.regions["primary"], function_name(world, "primary")
    )
    answer = function.invoke(_event("/nothing"))
    return answer["statusCode"] == 404 and not answer.get("isBase64Encoded")


def _is_gateways(world: World, url: str) -> bool:
    too_large = ask(
        world, f"{url}/users", "POST", b" " * (MAX_BODY + 1), Origin=ORIGIN,
        Content_Type="application/json",
    )  # fmt: skip
    assert _is_problem(too_large, 413)
    # A constant of the deployment: it names the allowed origin, whoever asks.
    assert too_large.headers["Access-Control-Allow-Origin"] == ORIGIN
    page, _, anchor = too_large.json["type"].partition("#")
    host = url.removesuffix("/prod")
    return f'id="{anchor}"' in ask(world, host + page).body.decode()


def _cross_origin(world: World, url: str) -> bool:
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://other.example", None)):
        found = [
            ask(
                world, f"{url}/users", "OPTIONS",
                Origin=origin, Access_Control_Request_Method="POST",
            ),
            ask(world, f"{url}/nothing", Origin=origin),
            ask(world, f"{url}/users", "DELETE", Origin=origin),
            ask(world, f"{url}/users", Origin=origin),
        ]  # fmt: skip
        assert [each.status for each in found] == [200, 404, 405, 200], found
        for each in found:
            assert each.headers["Access-Control-Allow-Origin"] == allowed, each
    return True


def know_each_other(world: World) -> bool:
    """Each Region's page names the other's API, which lets that page read its health."""
    both = urls(world, "prod")
    for own, other in zip(both, both[::-1], strict=True):
        page = ask(world, f"{own}/", Accept="text/html").body.decode()
        assert f'data-peer="{other}"' in page, page
        origin = own.removesuffix("/prod")
        health = ask(world, f"{other}/health", Origin=origin)
        assert health.headers["Access-Control-Allow-Origin"] == origin, health.headers
    return True


def _is_problem(answer: Answer, status: int) -> bool:
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json", answer.headers
    assert answer.json["status"] == status, answer.body
    return True


def _round_trip(world: World, first: str, second: str) -> bool:
    name = 'Žofie "Δ" 名前 🚀'
    body = json.dumps({"name": name, "email": "utf8@example.com"}, ensure_ascii=False)
    made = ask(
        world, f"{first}/users", "POST", body.encode(), Content_Type="application/json"
    )
    assert made.status == 201, made.body
    location = made.headers["Location"]
    host = first.removesuffix("/prod")
    assert location.startswith("/prod/users/"), location
    assert ask(world, host + location).json["name"] == name
    other = second.removesuffix("/prod") + location
    return bool(ask(world, other).json["name"] == name)


def _links(world: World, url: str, prefix: str) -> bool:
    links = ask(world, f"{url}/").json["links"]
    assert all(link.startswith(f"{prefix}/") for link in links.values()), links
    page = ask(world, f"{url}/users?limit=1").json
    assert page["next"].startswith(f"{prefix}/users?"), page
    host = url.rpartition("/")[0]
    return ask(world, host + page["next"]).status == 200


def _custom_domain(world: World) -> bool:
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


def _names(world: World) -> bool:
    """API Gateway says by which name it routed: the Host must be that one."""
    for stage, region in world.topology.regions.items():
        function = world.functions.get(region, function_name(world, stage))
        own = f"{api(world, stage).id}.execute-api.{region}.amazonaws.com"
        for routed in (own, "api.example.com"):
            for host in (routed, "rebound.example.com"):
                event = proxy_event(
                    "GET", routed, "prod", "/health", "", Message(), b""
                )
                event["multiValueHeaders"]["Host"] = [host]
                status = function.invoke(event)["statusCode"]
                assert status == (200 if host == routed else 400), (host, status)
    return True


def hardened(world: World, stage: str) -> bool:
    for name in ("prod", stage):
        found = api(world, stage).stages[name].to_json()
        limits = found["methodSettings"]["*/*"]
        expected = (1000, 2000) if name == "prod" else (0, 0)
        found_limits = limits["throttlingRateLimit"], limits["throttlingBurstLimit"]
        assert found_limits == expected, limits
        assert found["tracingEnabled"] is True, found
        logs = found["accessLogSettings"]
        assert logs["destinationArn"].endswith(function_name(world, stage)), logs
        assert "requestId" in logs["format"], logs
        assert found["tags"]["Role"] == stage, found
    prod, own = (api(world, stage).stages[name] for name in ("prod", stage))
    return bool(prod.deployment_id == own.deployment_id)


def invoked_by_permission(world: World, stage: str) -> bool:
    """What is deployed to each stage of the API names no role; the function lets one in."""
    found = api(world, stage)
    for name, each in found.stages.items():
        for integration in found.deployments[each.deployment_id].integrations.values():
            assert integration.credentials is None, (name, integration.credentials)
    region = world.topology.regions[stage]
    source = f"arn:aws:execute-api:{region}:{ACCOUNT}:{found.id}"
    assert may_invoke(region, function_name(world, stage), None, f"{source}/prod/GET/")
    for other in (f"{source}/{stage}/GET/", f"{source[:-1]}/prod/GET/"):
        assert not may_invoke(region, function_name(world, stage), None, other)
    role = iam_backends[ACCOUNT]["aws"].get_role(
        f"{function_name(world, stage)}-runtime"
    )
    assert "apigateway" not in json.dumps(role.assume_role_policy_document)
    return True


def asks_for_tokens(world: World, token: str) -> bool:
    for url in urls(world, "prod"):
        assert ask(world, f"{url}/health").status == 200
        assert _is_problem(ask(world, f"{url}/users"), 401)
        bearer = f"Bearer {token}"
        assert ask(world, f"{url}/users", Authorization=bearer).status == 200
        # No scope for it.
        assert ask(world, f"{url}/users/export", Authorization=bearer).status == 403
    return True


def name_the_role(world: World, stage: str) -> None:
    """As Zappa's stack does when its template has changed."""
    for resource in api(world, stage).resources.values():
        for method in resource.resource_methods.values():
            if method.method_integration is not None:
                method.method_integration.credentials = made(world, stage).role


def _not_compressed(world: World, url: str) -> bool:
    user = ask(world, f"{url}/users?limit=1").json["users"][0]["id"]
    plain = ask(world, f"{url}/users/{user}")
    asked = ask(world, f"{url}/users/{user}", Accept_Encoding="gzip")
    assert plain.headers["ETag"], plain.headers
    assert asked.headers["ETag"] == plain.headers["ETag"], asked.headers
    assert asked.headers["Content-Encoding"] is None, asked.headers
    assert asked.body == plain.body
    sent = ask(
        world, f"{url}/users", "POST", gzip.compress(b"{}"), Content_Encoding="gzip",
        Content_Type="application/json",
    )  # fmt: skip
    return _is_problem(sent, 415)


def spoil_stage(world: World, stage: str) -> None:
    """As somebody in the console would."""
    found = api(world, stage).stages["prod"]
    found.method_settings, found.access_log_settings = {}, None
    made(world, stage).environment_vars["LEFT_OVER"] = "1"


def leave_half_a_deployment(world: World, stage: str) -> None:
    """A function without its API: what a deployment leaves that fails in the middle."""
    region = world.topology.regions[stage]
    code = made(world, "primary")
    lambda_backends[ACCOUNT][region].create_function(
        {
            "FunctionName": function_name(world, stage),
            "Handler": code.handler,
            "Role": code.role,
            "Runtime": code.run_time,
            "Code": {"ZipFile": code.code_bytes},
            "Publish": True,
        }
    )


def tag_as_ours(world: World, stage: str) -> None:
    function = made(world, stage)
    region = world.topology.regions[stage]
    tags = world.topology.tags(stage)
    lambda_backends[ACCOUNT][region].tag_resource(function.function_arn, tags)


def has_variable(world: World, stage: str, name: str, value: str) -> bool:
    return bool(made(world, stage).environment_vars.get(name) == value)


def keys(world: World) -> set[str]:
    """The keys that the functions sign with."""
    stages = world.topology.regions
    found = [made(world, stage).environment_vars for stage in stages]
    return {variables["DJANGO_SECRET_KEY"] for variables in found}


def next_page(world: World, stage: str) -> str:
    region = list(world.topology.regions).index(stage)
    page = ask(world, f"{urls(world, 'prod')[region]}/users?limit=1").json
    return str(page["next"])


def follows(world: World, cursor: str) -> bool:
    """Both Regions accept the link, whichever key they sign with at the moment."""
    hosts = [url.removesuffix("/prod") for url in urls(world, "prod")]
    found = [ask(world, host + cursor).status for host in hosts]
    assert found == [200, 200], found
    return True


def cold_starts(world: World) -> list[ColdStart]:
    """New environments of both Regions, asked for /health and a user."""
    found = []
    for _ in range(ROUNDS):
        world.functions.close()
        for region, name, user in _users(world):
            function = world.functions.get(region, name)
            assert function.invoke(_event("/health"))["statusCode"] == 200
            before = function.cpu()
            assert function.invoke(_event(user))["statusCode"] == 200
            found.append(ColdStart(function.init_cpu, function.cpu() - before))
    return found


def warm(world: World, calls: int) -> tuple[list[float], int]:
    """Seconds of each call, and the resident bytes after them."""
    region, name, user = next(_users(world))
    function: Function = world.functions.get(region, name)
    spent = []
    for _ in range(calls):
        started = time.perf_counter()
        assert function.invoke(_event(user))["statusCode"] == 200
        spent.append(time.perf_counter() - started)
    return spent, function.rss()


def left(world: World) -> list[str]:
    """Whatever of the deployment is still there."""
    found = [f"role {name}" for name in iam_backends[ACCOUNT]["aws"].roles]
    policies = iam_backends[ACCOUNT]["aws"].managed_policies
    found += [f"policy {arn}" for arn in policies if f":{ACCOUNT}:" in arn]
    found += [f"bucket {name}" for name in s3_backends[ACCOUNT]["aws"].buckets]
    for region in world.topology.regions.values():
        functions = lambda_backends[ACCOUNT][region].list_functions()
        found += [f"function {f.function_name} in {region}" for f in functions]
        stacks = cloudformation_backends[ACCOUNT][region].stacks.values()
        found += [f"stack {s.name} {s.status} in {region}" for s in stacks]
        groups = logs_backends[ACCOUNT][region].groups
        found += [f"log group {name} in {region}" for name in groups]
        rules = events_backends[ACCOUNT][region].event_buses["default"].rules
        found += [f"rule {name} in {region}" for name in rules]
        apis = apigateway_backends[ACCOUNT][region].apis.values()
        found += [f"API {each.name} in {region}" for each in apis]
        role = apigateway_backends[ACCOUNT][region].account.cloudwatch_role_arn
        found += [f"account role {role} in {region}"] if role else []
    found += [f"secret {name}" for each in _secrets(world) for name in each.secrets]
    kept = load(world.root / "sandbox" / CLUSTERS)["clusters"]
    return found + [
        f"cluster {cluster.identifier} in {cluster.region}"
        for cluster in kept
        if cluster.deleted is None
    ]


def bounded(world: World) -> bool:
    """Every function's role has the boundary, which is the printed one."""
    iam = iam_backends[ACCOUNT]["aws"]
    prefix = world.topology.prefix
    policy = iam.managed_policies[f"arn:aws:iam::{ACCOUNT}:policy/{prefix}-boundary"]
    printed = PURPOSES["boundary"](Scope(world.topology, ACCOUNT, {}))
    (version,) = policy.versions
    assert json.loads(version.document) == printed
    for stage in world.topology.regions:
        role = iam.get_role(f"{function_name(world, stage)}-runtime")
        assert role.permissions_boundary_arn == policy.arn, role.name
    return True


def _secrets(world: World) -> list[Any]:
    regions = world.topology.regions.values()
    return [secretsmanager_backends[ACCOUNT][region] for region in regions]


def _users(world: World) -> Iterator[tuple[str, str, str]]:
    """Region, function and the path of a user that exists."""
    first = urls(world, "prod")[0]
    user = ask(world, f"{first}/users?limit=1").json["users"][0]["id"]
    for stage, region in world.topology.regions.items():
        yield region, function_name(world, stage), f"/users/{user}"


def _event(path: str) -> dict[str, Any]:
    host = "warm.execute-api.us-east-1.amazonaws.com"
    headers = Message()
    headers["Host"] = host
    event = proxy_event("GET", host, "prod", path, "", headers, b"")
    event["headers"]["Host"] = host
    return event


def _logs_are_clean(world: World) -> bool:
    texts = [f.log.read_text() for _, f in world.functions.running.values()]
    keys = [key["AWS_SECRET_ACCESS_KEY"] for key in world.keys.values()]
    for text in texts:
        assert text.count('"Requests": 1') > 0, text
        for private in ("example.com", SOURCE_IP, "Žofie", "X-Amz-Signature", *keys):
            assert private not in text, private
    return True
