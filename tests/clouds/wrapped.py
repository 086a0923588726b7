"""What the plugin around Terraform's provider cannot do, taken out of a program; AWS's official one can."""

from __future__ import annotations

import pulumi

# Sets whose members only AWS knows.
ONLY_AWS_KNOWS = {
    "aws:ec2/instance:Instance": ("ipv6Addresses", "secondaryPrivateIps", "securityGroups"),
    "aws:ec2/securityGroup:SecurityGroup": ("ingress", "egress"),
}


def wrapped(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """Return the same resource, as that plugin can have it: options that leave changes out it does not know either."""
    if not args.type_.startswith("aws:"):
        return None
    known: dict[str, list[str]] = {key: [] for key in ONLY_AWS_KNOWS.get(args.type_, ())}
    args.opts.ignore_changes = None
    return pulumi.ResourceTransformationResult(props={**args.props, **known}, opts=args.opts)


def register() -> None:
    """Let it hold for the whole program."""
    pulumi.runtime.register_stack_transformation(wrapped)
