"""What boto3 expects of S3, asked of a server that the environment names (AWS_ENDPOINT_URL_S3 and keys)."""

import base64
import hashlib
import os
import tempfile
import uuid

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1 << 20
OWNER = os.environ.get("SANDBOX_OWNER")
s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}))
bucket = f"boto3-{uuid.uuid4()}"


def refused(code, call, **arguments):
    try:
        call(Bucket=bucket, **arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"expected {code}, got {found}"
        return
    raise AssertionError(f"expected {code}, got a success")


s3.create_bucket(Bucket=bucket)
assert bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]]
assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"

# Conditional puts.
first = s3.put_object(Bucket=bucket, Key="a", Body=b"one", IfNoneMatch="*")
assert first["ETag"] == f'"{hashlib.md5(b"one").hexdigest()}"'
refused("PreconditionFailed", s3.put_object, Key="a", Body=b"two", IfNoneMatch="*")
refused("PreconditionFailed", s3.put_object, Key="a", Body=b"two", IfMatch='"0123"')
refused("NoSuchKey", s3.put_object, Key="none", Body=b"two", IfMatch=first["ETag"])
second = s3.put_object(Bucket=bucket, Key="a", Body=b"two", IfMatch=first["ETag"], Metadata={"team": "x"}, Tagging="k=v")
assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"two"
assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"team": "x"}
assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "k", "Value": "v"}]

# Checksums.
wrong = base64.b64encode(bytes(32)).decode()
refused("BadDigest", s3.put_object, Key="b", Body=b"bytes", ChecksumSHA256=wrong)
refused("BadDigest", s3.put_object, Key="b", Body=b"bytes", ContentMD5=base64.b64encode(bytes(16)).decode())
for algorithm in ["CRC32", "SHA1", "SHA256"]:
    s3.put_object(Bucket=bucket, Key=algorithm, Body=b"bytes", ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=bucket, Key=algorithm, ChecksumMode="ENABLED")
    assert f"Checksum{algorithm}" in head and head["ChecksumType"] == "FULL_OBJECT", head

# A file in parts, with the checksums that boto3 chooses.
with tempfile.NamedTemporaryFile() as file:
    content = os.urandom(13 * MIB)
    file.write(content)
    file.flush()
    parts = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB, max_concurrency=3)
    s3.upload_file(file.name, bucket, "file", Config=parts, ExtraArgs={"ContentType": "text/csv"})
    head = s3.head_object(Bucket=bucket, Key="file", ChecksumMode="ENABLED")
    assert head["ETag"].endswith('-3"') and head["ContentType"] == "text/csv", head
    assert head["ContentLength"] == len(content)
    assert any(name.startswith("ChecksumCRC") for name in head), head
    with tempfile.NamedTemporaryFile() as back:
        s3.download_file(bucket, "file", back.name, Config=parts)
        # Opened anew: boto3 renames what it downloaded over the name.
        with open(back.name, "rb") as whole:
            assert whole.read() == content
    # A stream of unknown length in one request.
    with open(file.name, "rb") as stream:
        s3.upload_fileobj(stream, bucket, "stream", Config=TransferConfig(multipart_threshold=64 * MIB))
    assert s3.head_object(Bucket=bucket, Key="stream")["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'

# Listings in pages, with the encoding that boto3 always asks for.
keys = sorted([f"list/{n:02}" for n in range(25)] + ["list/a b", "list/ü+%", "list/x/1", "list/x/2"], key=str.encode)
for key in keys:
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
for operation in ["list_objects_v2", "list_objects"]:
    pages = s3.get_paginator(operation).paginate(Bucket=bucket, Prefix="list/", PaginationConfig={"PageSize": 7})
    found = [o["Key"] for page in pages for o in page.get("Contents", [])]
    assert found == keys, (operation, found)
    pages = s3.get_paginator(operation).paginate(
        Bucket=bucket, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 5}
    )
    prefixes = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
    assert prefixes == ["list/x/"], (operation, prefixes)

# Versions and deletes.
marker = s3.delete_object(Bucket=bucket, Key="a")
assert marker["DeleteMarker"] is True
refused("404", s3.head_object, Key="a")
refused("NoSuchKey", s3.get_object, Key="a")
refused("405", s3.head_object, Key="a", VersionId=marker["VersionId"])
listed = s3.list_object_versions(Bucket=bucket, Prefix="a")
assert [v["VersionId"] for v in listed["Versions"]] == [second["VersionId"], first["VersionId"]]
assert s3.get_object(Bucket=bucket, Key="a", VersionId=first["VersionId"])["Body"].read() == b"one"
s3.delete_object(Bucket=bucket, Key="a", VersionId=marker["VersionId"])
assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"two"
refused("PreconditionFailed", s3.delete_object, Key="a", IfMatch='"0123"')

# Copies.
s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a", "VersionId": first["VersionId"]})
assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"one"
refused("PreconditionFailed", s3.copy_object, Key="copy", CopySource=f"{bucket}/a", IfNoneMatch="*")

if OWNER:
    s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=OWNER)
    refused("AccessDenied", s3.put_object, Key="o", Body=b"", ExpectedBucketOwner="999999999999")

refused("BucketNotEmpty", s3.delete_bucket)
versions = s3.list_object_versions(Bucket=bucket)
names = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions.get("Versions", []) + versions.get("DeleteMarkers", [])]
assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": names})
s3.delete_bucket(Bucket=bucket)
print("ok")
