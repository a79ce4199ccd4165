"""The Internet of the rehearsal: an HTTPS proxy behind which the deployed APIs answer.

Clients name the real hosts (``HTTPS_PROXY`` leads here), so URLs are typed as printed.
What answers is read from moto: the API, its stages and gateway responses, the function
behind its integration, that function's code, variables and role.
"""

import base64
import gzip
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from email.message import Message
from fnmatch import fnmatchcase
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from moto.apigateway.models import apigateway_backends
from moto.awslambda.models import lambda_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends

from tests.rehearsal.certificates import Certificates
from tests.rehearsal.lambda_service import Function, FunctionError, QuietServer
from tests.rehearsal.moto_gaps import serving_deployment

ACCOUNT = "123456789012"
GATEWAY = "apigateway.amazonaws.com"
SOURCE_IP = "192.0.2.44"
INTEGRATION_SECONDS = 29.0  # API Gateway's quota for an integration's response
MAX_BODY = 10 * 2**20  # API Gateway's quota for a payload
API_HOST = re.compile(r"([a-z0-9]+)\.execute-api\.([a-z0-9-]+)\.amazonaws\.com")
CODE_HOST = re.compile(r"awslambda-([a-z0-9-]+)-tasks\.s3\.")
FUNCTION = re.compile(r":function:([\w-]+)")
LOG_STREAM = "rehearsal"
Answer = tuple[int, list[tuple[str, str]], bytes]


class Functions:
    """Execution environments by Region and name; a changed function gets a new one."""

    def __init__(self, world: Callable[[str, str], Mapping[str, str]]) -> None:
        self.world = world  # what AWS and the network give a function: keys, addresses
        self.sick: set[str] = set()  # Regions whose functions answer nothing
        self.running: dict[tuple[str, str], tuple[str, Function]] = {}
        self.lock = threading.Lock()

    def get(self, region: str, name: str) -> Function:
        found = lambda_backends[ACCOUNT][region].get_function(name)
        variables = found.environment_vars
        version = json.dumps([found.code_sha_256, variables, found.handler])
        with self.lock:
            known, function = self.running.get((region, name), ("", None))
            if function is None or known != version:
                if function is not None:
                    function.close()
                assert found.handler is not None
                function = Function(
                    found.code_bytes, found.handler,
                    {**variables, **self.world(region, found.role)}, found.timeout,
                    runtime=str(found.run_time),
                    log_line=partial(_to_cloudwatch, region, name),
                )  # fmt: skip
                self.running[region, name] = version, function
            return function

    def close(self) -> None:
        for _, function in self.running.values():
            function.close()
        self.running.clear()


class Internet:
    """The proxy; ``url`` is for HTTPS_PROXY."""

    def __init__(self, functions: Functions, folder: Path) -> None:
        self.certificates = Certificates(folder)
        self.functions = functions
        self.integrations = ThreadPoolExecutor(thread_name_prefix="integration")
        self.server = QuietServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.integrations.shutdown(wait=False, cancel_futures=True)

    def answer(
        self, host: str, method: str, target: str, headers: Any, body: bytes
    ) -> Answer:
        if code := CODE_HOST.match(host):
            name, version = target.strip("/").split("/")
            function = lambda_backends[ACCOUNT][code[1]].get_function(name, version)
            return 200, [], function.code_bytes
        api = API_HOST.fullmatch(host)
        if api is None:
            return 404, [], b"no such host"
        rest_api = apigateway_backends[ACCOUNT][api[2]].apis[api[1]]
        url = urlsplit(target)
        _, stage, *rest = url.path.split("/")
        if stage not in rest_api.stages:
            # No deployment is behind it, so none of its responses either.
            forbidden = json.dumps({"message": "Forbidden"}).encode()
            return 403, [("Content-Type", "application/json")], forbidden
        if _is_closed(rest_api.stages[stage]):
            return gateway_response(rest_api, stage, "THROTTLED", 429)
        if len(body) > MAX_BODY:
            return gateway_response(rest_api, stage, "REQUEST_TOO_LARGE", 413)
        deployed = serving_deployment(rest_api, stage)
        headers, body = decompressed(deployed.compression, headers, body)
        path = "/" + "/".join(rest)
        integration = deployed.integrations["/{proxy+}" if path != "/" else "/"]
        name = _function_of(integration)
        event = proxy_event(method, host, stage, path, url.query, headers, body)
        source = (
            f"arn:aws:execute-api:{api[2]}:{ACCOUNT}:{api[1]}/{stage}/{method}{path}"
        )
        if not may_invoke(api[2], name, integration.credentials, source):
            return gateway_response(rest_api, stage, "API_CONFIGURATION_ERROR", 500)
        if api[2] in self.functions.sick:
            return gateway_response(rest_api, stage, "INTEGRATION_FAILURE", 502)
        try:
            answer = _of_lambda(self.invoke(api[2], name, event))
            return compressed(deployed.compression, headers, answer)
        except TimeoutError:
            return gateway_response(rest_api, stage, "INTEGRATION_TIMEOUT", 504)
        except FunctionError as error:
            print(f"    {name}: {error}")
            return gateway_response(rest_api, stage, "INTEGRATION_FAILURE", 502)

    def invoke(self, region: str, name: str, event: Mapping[str, Any]) -> Any:
        """The handler's answer. Raises FunctionError, or TimeoutError before it ended."""

        def work() -> Any:
            return self.functions.get(region, name).invoke(event)

        return self.integrations.submit(work).result(INTEGRATION_SECONDS)


def proxy_event(
    method: str, host: str, stage: str, path: str, query: str, headers: Any, body: bytes
) -> dict[str, Any]:
    """API Gateway developer guide, "Input format of a Lambda function for proxy integration"."""
    multi: dict[str, list[str]] = {}
    for name, value in headers.items():
        multi.setdefault(name, []).append(value)
    sent = ", ".join(multi.pop("X-Forwarded-For", []))
    multi["X-Forwarded-For"] = [f"{sent}, {SOURCE_IP}" if sent else SOURCE_IP]
    multi["X-Forwarded-Proto"], multi["X-Forwarded-Port"] = ["https"], ["443"]
    values = parse_qs(query, keep_blank_values=True)
    return {
        "resource": "/{proxy+}" if path != "/" else "/",
        "path": unquote(path),
        "httpMethod": method,
        "headers": {name: found[-1] for name, found in multi.items()},
        "multiValueHeaders": multi,
        "queryStringParameters": {k: v[-1] for k, v in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "pathParameters": {"proxy": path[1:]} if path != "/" else None,
        "stageVariables": None,
        "requestContext": {
            "path": f"/{stage}{path}" if path != "/" else f"/{stage}/",
            "stage": stage,
            "httpMethod": method,
            "domainName": host,
            "requestId": str(uuid.uuid4()),
            "requestTimeEpoch": int(time.time() * 1000),
            "identity": {"sourceIp": SOURCE_IP, "userAgent": headers.get("User-Agent")},
        },
        # Zappa declares */* binary, so every body arrives encoded.
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


def gateway_response(rest_api: Any, stage: str, kind: str, status: int) -> Answer:
    """What API Gateway answers itself, as the deployment configured it."""
    known = rest_api.gateway_responses
    default = f"DEFAULT_{status // 100}XX"
    found = known.get(kind) or known.get(default)
    if found is None:
        body = json.dumps({"message": "error"})
        return status, [("Content-Type", "application/json")], body.encode()
    configured = found.to_json()
    parameters = configured.get("responseParameters") or {}
    headers = [(k.rpartition(".")[2], v.strip("'")) for k, v in parameters.items()]
    template = configured["responseTemplates"]["application/json"]
    body = template.replace("$context.requestId", str(uuid.uuid4()))
    body = body.replace("$context.stage", stage)
    return int(configured.get("statusCode") or status), headers, body.encode()


def _of_lambda(answer: Mapping[str, Any]) -> Answer:
    body = answer.get("body") or ""
    raw = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    headers = [
        (name, value)
        for name, values in answer["multiValueHeaders"].items()
        for value in values
    ]
    return answer["statusCode"], headers, raw


def _to_cloudwatch(region: str, name: str, line: str) -> None:
    """Lambda's own lines, where ``zappa tail`` reads them."""
    logs, group = logs_backends[ACCOUNT][region], f"/aws/lambda/{name}"
    if group in logs.groups:
        logs.ensure_log_stream(group, LOG_STREAM)
        event = {"timestamp": int(time.time() * 1000), "message": line}
        logs.put_log_events(group, LOG_STREAM, [event])


def decompressed(
    minimum: int | None, headers: Message, body: bytes
) -> tuple[Message, bytes]:
    """With compression on, API Gateway decompresses what comes in, whatever its size."""
    if minimum is None or headers.get("Content-Encoding", "").lower() != "gzip":
        return headers, body
    passed = copy(headers)
    passed._headers = list(headers._headers)  # type: ignore[attr-defined] # copy() shares it
    del passed["Content-Encoding"]
    return passed, gzip.decompress(body)


def compressed(minimum: int | None, headers: Message, answer: Answer) -> Answer:
    """It compresses on request what is large enough, and leaves ETag and Vary alone."""
    status, named, body = answer
    accepted = "gzip" in headers.get("Accept-Encoding", "")
    encoded = any(name.lower() == "content-encoding" for name, _ in named)
    if minimum is None or not accepted or encoded or len(body) < minimum:
        return answer
    return status, [*named, ("Content-Encoding", "gzip")], gzip.compress(body)


def _is_closed(stage: Any) -> bool:
    """A limit of no request a second refuses each; others are never reached here."""
    settings = stage.to_json().get("methodSettings", {}).get("*/*", {})
    return bool(settings.get("throttlingRateLimit") == 0)


def _function_of(integration: Any) -> str:
    found = FUNCTION.search(integration.uri)
    assert found, integration.uri
    return found[1]


def may_invoke(region: str, name: str, role: str | None, source: str) -> bool:
    """By the role that the integration names, or else by the function's own policy.

    AWS answers 500 where neither lets it.
    """
    function = lambda_backends[ACCOUNT][region].get_function(name)
    if role:
        return _role_may_invoke(role, function.function_arn)
    return any(
        statement["Action"] == "lambda:InvokeFunction"
        and statement["Principal"] == {"Service": GATEWAY}
        and all(
            fnmatchcase(source, pattern)
            for pattern in statement["Condition"]["ArnLike"].values()
        )
        for statement in function.policy.statements
    )


def _role_may_invoke(arn: str, function: str) -> bool:
    """API Gateway must be trusted by the role, and the role allowed to invoke."""
    role = iam_backends[ACCOUNT]["aws"].get_role(arn.rpartition("/")[2])
    trust = role.assume_role_policy_document
    trusted = GATEWAY in (trust if isinstance(trust, str) else json.dumps(trust))
    statements = [
        statement
        for policy in role.policies.values()
        for statement in (json.loads(policy) if isinstance(policy, str) else policy)[
            "Statement"
        ]
    ]
    return trusted and any(
        "lambda:InvokeFunction" in statement["Action"]
        and function in statement["Resource"]
        for statement in statements
    )


def _handler(internet: Internet) -> type[BaseHTTPRequestHandler]:
    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60
        wbufsize = -1

        def do_CONNECT(self) -> None:
            self.host = self.path.rpartition(":")[0]
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            context = internet.certificates.context(self.host)
            try:
                self.connection = context.wrap_socket(self.connection, server_side=True)
            except (ssl.SSLError, ConnectionError):
                self.close_connection = True
                return
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb")
            self.close_connection = False

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, headers, body = internet.answer(
                self.host,
                self.command,
                self.path,
                self.headers,
                self.rfile.read(length),
            )
            self.send_response(status)
            for name, value in headers:
                if name.lower() != "content-length":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Proxy
