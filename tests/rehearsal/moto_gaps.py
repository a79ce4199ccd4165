"""What moto 5.2 lacks of the AWS APIs that a deployment uses, added for the rehearsal only."""

import json
import secrets
import string
from copy import copy
from typing import Any

from moto.apigateway.models import Method, RestAPI, apigateway_backends
from moto.awslambda.models import LambdaFunction, LambdaStorage
from moto.cloudformation.models import ChangeSet, CloudFormationBackend, Stack
from moto.core.common_models import CloudFormationModel
from moto.iam.aws_managed_policies import aws_managed_policies_data
from moto.iam.models import AWSManagedPolicy, IAMBackend
from moto.secretsmanager.models import secretsmanager_backends

DIGITS = string.ascii_letters + string.digits


class _Common:
    """What the resource types below share; moto finds direct subclasses of its model."""

    def __init__(self, identifier: str) -> None:
        self.physical_resource_id = identifier

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    @classmethod
    def update_from_cloudformation_json(
        cls, original_resource: Any, new_resource_name: str, cloudformation_json: Any,
        account_id: str, region_name: str,
    ) -> Any:  # fmt: skip
        return original_resource

    @classmethod
    def delete_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str,
        region_name: str,
    ) -> None:  # fmt: skip
        pass

    def is_created(self) -> bool:
        return True


class Secret(_Common, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::SecretsManager::Secret"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str,
        region_name: str, **kwargs: Any,
    ) -> Any:  # fmt: skip
        wanted = cloudformation_json["Properties"]
        generate = wanted["GenerateSecretString"]
        content = json.loads(generate["SecretStringTemplate"])
        length = int(generate["PasswordLength"])
        content[generate["GenerateStringKey"]] = "".join(
            secrets.choice(DIGITS) for _ in range(length)
        )
        made = json.loads(
            secretsmanager_backends[account_id][region_name].create_secret(
                name=wanted["Name"],
                secret_string=json.dumps(content),
                secret_binary=None,
                description=wanted["Description"],
                tags=wanted["Tags"],
                kms_key_id=None,
                client_request_token=None,
                replica_regions=wanted["ReplicaRegions"],
                force_overwrite=False,
            )
        )
        return cls(made["ARN"])

    @classmethod
    def delete_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str,
        region_name: str,
    ) -> None:  # fmt: skip
        backends = secretsmanager_backends[account_id]
        own = backends[region_name].secrets
        (name,) = [n for n, s in own.items() if resource_name in {n, s.arn}]
        secret: Any = own[name]
        for replica in secret.replicas:
            others = backends[replica.region].secrets
            for key in [k for k, found in others.items() if found is replica]:
                dict.pop(others, key)
        dict.pop(own, name)


class BucketPolicy(_Common, CloudFormationModel):
    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::S3::BucketPolicy"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str,
        region_name: str, **kwargs: Any,
    ) -> Any:  # fmt: skip
        # Not put on the bucket: moto does not read conditions, and would deny everything.
        return cls(f"{resource_name}-policy")


def _apply(self: ChangeSet) -> None:
    """As create_stack and update_stack do it: with conditions, outputs and tags."""
    stack: Stack = self.stack
    if self.change_set_type == "CREATE":
        stack.__init__(  # type: ignore[misc] # the stack was made without a template
            stack.stack_id, stack.name, self.template, self.parameters,
            stack.account_id, stack.region_name, stack.notification_arns, self.tags,
            stack.role_arn,
        )  # fmt: skip
        stack.create_resources()
    else:
        stack.update(self.template, stack.role_arn, self.parameters, self.tags)


def _delete_api(
    cls: type[RestAPI], resource_name: str, cloudformation_json: Any, account_id: str,
    region_name: str,
) -> None:  # fmt: skip
    """moto keeps the APIs of deleted stacks."""
    apigateway_backends[account_id][region_name].apis.pop(resource_name, None)


def _repair_integrations() -> None:
    """moto drops the credentials that a template names, and what was deployed when."""
    make = Method.create_from_cloudformation_json.__func__  # type: ignore[attr-defined]
    deploy = RestAPI.create_deployment

    def create_method(
        cls: type[Method], resource_name: str, cloudformation_json: Any, *args: Any,
        **named: Any,
    ) -> Method:  # fmt: skip
        made: Method = make(cls, resource_name, cloudformation_json, *args, **named)
        integration = cloudformation_json["Properties"]["Integration"]
        if made.method_integration is not None:
            made.method_integration.credentials = integration.get("Credentials")
        return made

    def create_deployment(self: RestAPI, *args: Any, **named: Any) -> Any:
        made: Any = deploy(self, *args, **named)
        made.integrations = {
            resource.get_path(): copy(method.method_integration)
            for resource in self.resources.values()
            for method in resource.resource_methods.values()
            if method.method_integration is not None
        }
        made.compression = self.minimum_compression_size
        return made

    Method.create_from_cloudformation_json = classmethod(create_method)  # type: ignore[assignment]
    RestAPI.create_deployment = create_deployment  # type: ignore[method-assign]


def serving_deployment(api: RestAPI, stage: str) -> Any:
    """What a stage serves with, and the attributes that are added to it above."""
    deployment = api.stages[stage].deployment_id
    assert deployment is not None
    return api.deployments[deployment]


def _repair_compression() -> None:
    """moto does not keep what UpdateRestApi says of compression."""
    apply = RestAPI.apply_patch_operations

    def apply_patch_operations(
        self: RestAPI, patch_operations: list[dict[str, Any]]
    ) -> None:
        for each in patch_operations:
            if each["path"] == "/minimumCompressionSize":
                value = each.get("value")
                self.minimum_compression_size = None if value is None else int(value)
        apply(self, patch_operations)

    RestAPI.apply_patch_operations = apply_patch_operations  # type: ignore[method-assign]


def _repair_policies() -> None:
    """moto knows AWS's own policies only where it reads all of them: seconds for each test."""
    attach = IAMBackend.attach_role_policy

    def attach_role_policy(self: IAMBackend, policy_arn: str, role_name: str) -> None:
        path, _, name = policy_arn.rpartition(":policy")[2].rpartition("/")
        if ":aws:policy/" in policy_arn and f'"{name}"' in aws_managed_policies_data:
            made = AWSManagedPolicy(  # type: ignore[abstract]  # moto itself does so
                name, account_id=self.account_id, region=self.region_name,
                path=f"{path}/", document="{}",
            )  # fmt: skip
            self.managed_policies.setdefault(made.arn, made)
        attach(self, policy_arn, role_name)

    IAMBackend.attach_role_policy = attach_role_policy  # type: ignore[method-assign]


def _code_location(self: LambdaFunction) -> dict[str, Any]:
    """moto answers "s3://" for a function whose code came by upload."""
    host = f"awslambda-{self.region}-tasks.s3.{self.region}.amazonaws.com"
    location = f"https://{host}/{self.function_name}/{self.version}"
    return {"Location": location, "RepositoryType": "S3"}


def _repair_versions() -> None:
    """moto numbers a version by how many there are: twice the same once one is pruned."""
    publish, delete = LambdaStorage.publish_version, LambdaStorage.del_function

    def publish_version(
        self: LambdaStorage, name_or_arn: str, description: str = ""
    ) -> LambdaFunction | None:
        made = publish(self, name_or_arn, description)
        if made is not None:
            *before, last = self._functions[made.function_name]["versions"]
            if last is made and before:
                made.set_version(int(before[-1].version) + 1)
                self._arns[made.function_arn] = made
        return made

    def del_function(
        self: LambdaStorage, name_or_arn: str, qualifier: str | None = None
    ) -> None:
        for kept in self._functions.values():
            for function in (*kept["versions"], kept["latest"]):
                self._arns[function.function_arn] = function
        delete(self, name_or_arn, qualifier)

    LambdaStorage.publish_version = publish_version  # type: ignore[method-assign]
    LambdaStorage.del_function = del_function  # type: ignore[method-assign]


def _delete_change_set(self: CloudFormationBackend, change_set_name: str) -> None:
    """As AWS does: what is not there is deleted already."""
    for identifier, found in list(self.change_sets.items()):
        if change_set_name in {identifier, found.change_set_name}:
            del self.change_sets[identifier]


def repair() -> None:
    CloudFormationBackend.delete_change_set = _delete_change_set  # type: ignore[method-assign]
    ChangeSet.apply = _apply  # type: ignore[method-assign]
    RestAPI.delete_from_cloudformation_json = classmethod(_delete_api)  # type: ignore[method-assign, assignment]
    _repair_versions()
    _repair_integrations()
    _repair_compression()
    _repair_policies()
    found = LambdaFunction.get_code

    def get_code(self: LambdaFunction) -> dict[str, Any]:
        code: dict[str, Any] = found(self)
        return {**code, "Code": _code_location(self)}

    LambdaFunction.get_code = get_code  # type: ignore[method-assign]
    by_name = LambdaStorage.get_function_by_name_or_arn_with_qualifier

    def get_function(
        self: LambdaStorage, name_or_arn: str, qualifier: str | None = None
    ) -> LambdaFunction:
        """AWS takes ``function:<name>:<version>`` too, as Zappa's rollback says it."""
        return by_name(self, name_or_arn.removeprefix("function:"), qualifier)

    LambdaStorage.get_function_by_name_or_arn_with_qualifier = get_function  # type: ignore[method-assign]
