"""The permissions boundary of the functions' roles: a managed policy, one for both Regions.

Not part of a stack, because it needs another owner than the stacks: the printed ``deploy``
policy can grant a role permissions within the boundary, but cannot create or change it. The
first `manage.py stack deploy` by somebody with that permission creates it.
"""

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from ops import aws, ownership
from ops.arn import parse_arn
from ops.ownership import NotReady
from ops.policies import PURPOSES, Scope
from ops.topology import PRIMARY, Topology

MAX_VERSIONS = 5  # IAM keeps no more of one policy
Say = Callable[[str], None]


class Boundary:
    """Every method raises aws.AwsError, and NotReady when the policy is not ours."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        region = topology.regions[PRIMARY]
        with aws.explained():
            caller = aws.client("sts", region).get_caller_identity()
        partition = parse_arn(caller["Arn"]).partition
        scope = Scope(topology, caller["Account"], {}, partition)
        self.arn, self.document = scope.boundary, PURPOSES["boundary"](scope)
        self.client = aws.client("iam", region)

    def pending(self) -> str | None:
        """What apply() would do; None when the boundary is up to date."""
        found = self._find()
        if found is None:
            return f"create the permissions boundary {self.arn}"
        return None if self._is_current(found) else f"change {self.arn}"

    def contents(self) -> list[str]:
        """What delete() removes, as one line or none."""
        return [] if self._find() is None else [f"IAM: policy {self.arn}"]

    def apply(self, say: Say) -> None:
        """Create or update the policy, and wait until it exists."""
        found = self._find()
        if found is not None and self._is_current(found):
            return
        with aws.explained():
            try:
                if found is None:
                    self._create()
                else:
                    self._change()
            except ClientError as error:
                if aws.error_code(error) not in aws.DENIED:
                    raise
                common = self.topology.common_tags.items()
                tags = " and ".join(f"{key}={value}" for key, value in common)
                raise NotReady(
                    f"The permissions boundary {self.arn} is "
                    f"{'missing' if found is None else 'not up to date'}, and these credentials "
                    f"may not change that. Have an administrator run `manage.py stack deploy` "
                    f"once, or make it of what `manage.py iam_policy boundary` prints, with the "
                    f"tags {tags}."
                ) from error
        say(f"{self.arn} is {'made' if found is None else 'up to date'}")

    def delete(self, say: Say) -> None:
        """Delete the policy once no role needs it; one that is not ours is left alone."""
        try:
            if self._find() is None:
                return
            for version in self._versions():
                if not version["IsDefaultVersion"]:
                    self._delete_version(version)
            with aws.explained():
                self.client.delete_policy(PolicyArn=self.arn)
        except (NotReady, aws.AwsError) as error:
            say(f"{self.arn} remains: {error}")
        else:
            say(f"{self.arn} is deleted")

    def _create(self) -> None:
        self.client.create_policy(
            PolicyName=self.arn.rpartition("/")[2],
            PolicyDocument=json.dumps(self.document),
            Description="The most that the functions' roles may ever do",
            Tags=[
                {"Key": key, "Value": value}
                for key, value in self.topology.common_tags.items()
            ],
        )
        self.client.get_waiter("policy_exists").wait(PolicyArn=self.arn)

    def _change(self) -> None:
        versions = self._versions()
        if len(versions) >= MAX_VERSIONS:
            old = [each for each in versions if not each["IsDefaultVersion"]]
            self._delete_version(min(old, key=lambda each: each["CreateDate"]))
        self.client.create_policy_version(
            PolicyArn=self.arn,
            PolicyDocument=json.dumps(self.document),
            SetAsDefault=True,
        )

    def _find(self) -> Any:
        with aws.explained():
            try:
                found = self.client.get_policy(PolicyArn=self.arn)["Policy"]
            except self.client.exceptions.NoSuchEntityException:
                return None
        tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
        ownership.require_ours(self.topology, "IAM", f"the policy {self.arn}", tags)
        return found

    def _is_current(self, found: Any) -> bool:
        with aws.explained():
            version = self.client.get_policy_version(
                PolicyArn=self.arn, VersionId=found["DefaultVersionId"]
            )
        return bool(version["PolicyVersion"]["Document"] == self.document)

    def _versions(self) -> list[Any]:
        with aws.explained():
            found = self.client.list_policy_versions(PolicyArn=self.arn)
        return list(found["Versions"])

    def _delete_version(self, version: Any) -> None:
        with aws.explained():
            self.client.delete_policy_version(
                PolicyArn=self.arn, VersionId=version["VersionId"]
            )
