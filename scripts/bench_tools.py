"""The tools that scripts/bench measures: how each is asked to upload, and to find that all is there already."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".servers" / "venv"
AWSCLI = ROOT / ".servers" / "awscli"
BUCKET = "noclobber-bench"


class Run:
    """What one command took, and what it said."""

    def __init__(self, command, env, folder):
        said = folder / "said.txt"
        with open(said, "wb") as out:
            began = time.perf_counter()
            process = subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        self.code = process.returncode
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        # Linux counts kilobytes, macOS bytes. A child begins with this process's own peak: no figure is below that.
        self.peak_mib = usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)
        self.said = said.read_text(errors="replace")


class Upload:
    """One way to upload `data`. `prepare` is done before, and not measured; a slow one is asked in one round alone."""

    def __init__(self, name, env, command, prepare=None, slow=False):
        self.name, self.env, self.command, self.prepare, self.slow = name, env, command, prepare, slow


class Tool:
    """How one tool is asked for all jobs. `unchanged` is a list: a tool may have several ways to look."""

    def __init__(self, name, version, env, uploads, unchanged):
        self.name, self.version, self.env, self.uploads, self.unchanged = name, version, env, uploads, unchanged


GLOB = """  - source: "data/**/*.bin"
    key: "{{ path }}"
"""
LIST = "  - list: list.csv\n"


def manifest(endpoint, folder, prefix, entries=GLOB):
    text = f"""version: 1
name: bench
bucket: {BUCKET}
region: us-east-1
endpoint: {endpoint}
prefix: {prefix}/
entries:
"""
    (folder / f"{prefix}.yaml").write_text(text + entries)
    return f"{prefix}.yaml"


def noclobber(options, keys, folder):
    binary = options.binary
    threads = [] if options.job == "large" else ["--concurrency", str(options.concurrency)]
    # A file that is uploaded is new: no digest of it is known from a run before.
    cold = {**keys, "XDG_CACHE_HOME": str(folder / "cold")}

    def forget(_prefix):
        shutil.rmtree(folder / "cold", ignore_errors=True)

    def run(prefix):
        return [binary, "run", manifest(options.endpoint, folder, prefix), "--out", f"out-{prefix}", *threads]

    def plan(prefix):
        command = [binary, "plan", manifest(options.endpoint, folder, prefix), "-o", f"{prefix}.jsonl"]
        subprocess.run(command, env=keys, cwd=folder, check=True, capture_output=True)

    def apply(prefix):
        return [binary, "apply", f"{prefix}.jsonl", "--report", f"{prefix}.csv", *threads]

    def look(prefix):
        return [binary, "plan", manifest(options.endpoint, folder, prefix), "-o", f"{prefix}.jsonl"]

    uploads = [Upload("noclobber run", cold, run, forget), Upload("noclobber apply", keys, apply, plan)]
    looks = [("noclobber plan", look, all_unchanged)]
    return Tool("noclobber", version([binary, "--version"]), keys, uploads, looks)


def all_unchanged(run, files):
    return run.code == 0 and any(f"{n} unchanged" in run.said for n in (str(files), f"{files:,}"))


def s5cmd(options, keys, folder):
    binary = next(VENV.glob("lib/python*/site-packages/s5cmd/bin/s5cmd"))
    endpoint = [binary, "--endpoint-url", options.endpoint]
    base = endpoint if options.job == "large" else [*endpoint, "--numworkers", str(options.concurrency)]

    def to(prefix):
        return f"s3://{BUCKET}/{prefix}/"

    def copy(prefix):
        return [*base, "cp", "data/", to(prefix)]

    # Its own way to carry out a list that somebody looked at.
    def batch(prefix):
        paths = sorted(path.relative_to(folder) for path in (folder / "data").rglob("*.bin"))
        lines = [f"cp {path} {to(prefix)}{path.relative_to('data')}\n" for path in paths]
        (folder / f"{prefix}.txt").write_text("".join(lines))

    def run(prefix):
        return [*base, "run", f"{prefix}.txt"]

    # As many parts in flight as noclobber's pool holds, and of its size.
    def tuned(prefix):
        return [*endpoint, "cp", "--part-size", "16", "--concurrency", "8", "data/", to(prefix)]

    # It compares size and time, never content: cheaper, and not the same question.
    def look(prefix):
        return [*base, "--dry-run", "sync", "data/", to(prefix)]

    def nothing_said(run, _files):
        return run.code == 0 and not run.said.strip()

    uploads = [Upload("s5cmd cp", keys, copy)]
    if options.job == "large":
        uploads.append(Upload("s5cmd cp, 16 MiB parts", keys, tuned))
    else:
        uploads.append(Upload("s5cmd run", keys, run, batch))
    looks = [("s5cmd sync --dry-run (size, time)", look, nothing_said)]
    return Tool("s5cmd", version([binary, "version"]), keys, uploads, looks)


def rclone(options, keys, _folder):
    binary = VENV / "bin" / "rclone"
    env = {
        **keys,
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_REGION": "us-east-1",
        "RCLONE_S3_ENDPOINT": options.endpoint,
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
    }
    threads = ["--transfers", str(options.concurrency), "--checkers", str(options.concurrency)]
    base = [] if options.job == "large" else threads

    def upload(prefix):
        return [binary, "copy", "--checksum", *base, "data", f":s3:{BUCKET}/{prefix}"]

    # Without the MD5 of the whole, which it reads every file once more for, and with the parts of the others.
    def tuned(prefix):
        parts = ["--s3-chunk-size", "16M", "--s3-upload-concurrency", "4", "--s3-disable-checksum"]
        return [binary, "copy", "--transfers", "4", *parts, "data", f":s3:{BUCKET}/{prefix}"]

    def check(prefix):
        return [binary, "check", "--one-way", *base, "data", f":s3:{BUCKET}/{prefix}"]

    def dry(prefix):
        return [binary, "copy", "--checksum", "--dry-run", *base, "data", f":s3:{BUCKET}/{prefix}"]

    # One listing, as the others do, instead of one for each folder.
    def listed_once(prefix):
        return [*dry(prefix)[:-2], "--fast-list", "data", f":s3:{BUCKET}/{prefix}"]

    def no_differences(run, files):
        return run.code == 0 and f"{files} matching files" in run.said

    def no_copies(run, _files):
        return run.code == 0 and "Skipped copy" not in run.said

    uploads = [Upload("rclone copy", env, upload)]
    if options.job == "large":
        uploads.append(Upload("rclone copy, 16 MiB parts, no MD5", env, tuned))
    looks = [
        ("rclone check", check, no_differences),
        ("rclone copy --checksum --dry-run", dry, no_copies),
        ("rclone copy --dry-run --fast-list", listed_once, no_copies),
    ]
    return Tool("rclone", version([binary, "version"]), env, uploads, looks)


def aws(options, keys, folder):
    command = [VENV / "bin" / "python", AWSCLI / "bin" / "aws"]
    config = folder / "aws-tuned.ini"
    s3 = f"  max_concurrent_requests = {options.concurrency}\n  multipart_chunksize = 16MB\n"
    config.write_text(f"[default]\ns3 =\n{s3}")
    env = {**keys, "PYTHONPATH": str(AWSCLI), "AWS_CONFIG_FILE": "/dev/null"}

    def copy(prefix):
        said = ["--recursive", "--only-show-errors", "--endpoint-url", options.endpoint]
        return [*command, "s3", "cp", "data", f"s3://{BUCKET}/{prefix}", *said]

    small = options.job != "large"
    uploads = [Upload("aws s3 cp", env, copy, slow=small)]
    if not small:
        uploads.append(Upload("aws s3 cp, tuned", {**env, "AWS_CONFIG_FILE": str(config)}, copy))
    said = subprocess.run([*command, "--version"], env=env, capture_output=True, text=True).stdout.strip()
    return Tool("aws", said.partition(" ")[0] or "unknown", env, uploads, [])


MAKERS = {"s5cmd": s5cmd, "rclone": rclone, "aws": aws}


def version(command):
    said = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return said.splitlines()[0] if said else "unknown"
