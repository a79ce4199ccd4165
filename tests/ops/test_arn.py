import pytest

from ops.arn import parse_arn


def test_the_resource_may_have_colons_of_its_own() -> None:
    arn = parse_arn("arn:aws-cn:lambda:cn-north-1:123456789012:function:name:live")
    assert arn.partition == "aws-cn"
    assert (arn.service, arn.region) == ("lambda", "cn-north-1")
    assert (arn.account, arn.resource) == ("123456789012", "function:name:live")


@pytest.mark.parametrize("text", ["", "arn:aws:iam", "alias/key", "a:b:c:d:e:f"])
def test_what_is_no_arn_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not an ARN"):
        parse_arn(text)
