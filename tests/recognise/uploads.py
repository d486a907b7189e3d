"""Uploads files with boto3 in the way that each key names:

    uploads.py BUCKET KEY SOURCE [KEY SOURCE...]

A key is `boto3/` and then: `no checksum` or the checksum's name (else boto3's own default), the part size in MiB (else
one request), `copy of` another key, `AES256`.
"""

import os
import re
import sys

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

MIB = 1 << 20


def client(**more):
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **more)
    return boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=config)


def upload(bucket, key, source):
    how = key.removeprefix("boto3/")
    s3 = client(request_checksum_calculation="when_required") if "no checksum" in how else client()
    named = re.search(r"((?:\d+, )*\d+) MiB$", how)
    sizes = [int(size) for size in named[1].split(", ")] if named else []
    extra = {}
    if "SHA256" in how:
        extra["ChecksumAlgorithm"] = "SHA256"
    if "AES256" in how:
        extra["ServerSideEncryption"] = "AES256"
    if how.startswith("copy of "):
        copied = {"Bucket": bucket, "Key": key.replace("copy of ", "")}
        s3.copy_object(Bucket=bucket, Key=key, CopySource=copied)
    elif len(sizes) > 1:
        uneven(s3, bucket, key, source, sizes, {} if "no checksum" in how else {"ChecksumAlgorithm": "CRC32"})
    elif sizes:
        chunk = sizes[0] * MIB
        config = TransferConfig(multipart_threshold=chunk, multipart_chunksize=chunk)
        s3.upload_file(source, bucket, key, ExtraArgs=extra, Config=config)
    else:
        s3.upload_file(source, bucket, key, ExtraArgs=extra)


def uneven(s3, bucket, key, source, sizes, algorithm):
    """Parts of the sizes given, and what is left in the last."""
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key, **algorithm)["UploadId"]
    parts = []
    with open(source, "rb") as file:
        for number, size in enumerate([*sizes[:-1], None], start=1):
            body = file.read() if size is None else file.read(size * MIB)
            sent = s3.upload_part(Bucket=bucket, Key=key, UploadId=begun, PartNumber=number, Body=body)
            told = ["ETag", "ChecksumCRC32"] if algorithm else ["ETag"]
            parts.append({"PartNumber": number, **{name: sent[name] for name in told}})
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=begun, MultipartUpload={"Parts": parts})


def main():
    bucket, *rest = sys.argv[1:]
    for key, source in zip(rest[::2], rest[1::2]):
        upload(bucket, key, source)


main()
