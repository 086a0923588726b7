"""What a stack is to AWS, as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model.rules import bucket_parts

# Source: AWS, "Device names for volumes on Amazon EC2 instances": f to p are for data; a Nitro machine ignores it.
DATA_DEVICE_NAME = "/dev/sdf"
EVERYWHERE = "0.0.0.0/0"
SSH = 22
ALL_PROTOCOLS = "-1"


def data_device(volume_id: str) -> str:
    """Return a data disk's own name in a machine: in the order in which disks turn up there is none.

    Source: AWS, "Map Amazon EBS volumes to NVMe device names": the serial number is the volume's id.

    >>> data_device("vol-0123456789abcdef0")
    '/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0'
    """
    return f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


def credits_of(instance_type: str) -> dict[str, str] | None:
    """Return how a machine that saves up processor time spends it: without credit, which would cost extra.

    Source: AWS, "Unlimited mode for burstable performance instances"; other types than T refuse the parameter.

    >>> credits_of("t3.small"), credits_of("m6i.large")
    ({'cpu_credits': 'standard'}, None)
    """
    return {"cpu_credits": "standard"} if instance_type.startswith("t") else None


def reading_policy(buckets: Sequence[str]) -> dict[str, Any]:
    """Return what may go through a network's own way to S3: reading these buckets, whoever asks.

    Args:
        buckets: each as ``s3://name/prefix``.

    Source: AWS, "Gateway endpoints for Amazon S3", endpoint policies.

    >>> reading_policy(["s3://b/prod"])["Statement"][0]["Resource"]
    ['arn:aws:s3:::b', 'arn:aws:s3:::b/prod/*']
    """
    resources = []
    for address in buckets:
        name, prefix = bucket_parts(address)
        below = f"{prefix}/*" if prefix else "*"
        resources += [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/{below}"]
    allowed = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"]}
    return {"Version": "2012-10-17", "Statement": [{**allowed, "Resource": resources}]}
