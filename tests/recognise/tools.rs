//! Runs the other tools, each as its users do, with nothing but a server's address and keys in its environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{REGION, Server};

pub struct Tools {
    /// Where the tools are: beside the Python that `scripts/servers` names.
    folder: PathBuf,
    server: Server,
}

impl Tools {
    /// `None`, and a loud line, where there are no tools.
    pub fn new(server: &Server) -> Option<Self> {
        let Some(python) = std::env::var_os("NOCLOBBER_PYTHON") else {
            let required = std::env::var("NOCLOBBER_REQUIRE_SERVERS").is_ok_and(|v| v != "0" && !v.is_empty());
            assert!(!required, "NOCLOBBER_PYTHON is not set, and NOCLOBBER_REQUIRE_SERVERS is on");
            eprintln!("SKIPPED: no tools (NOCLOBBER_PYTHON is not set); run the tests under `scripts/servers run`");
            return None;
        };
        Some(Self { folder: Path::new(&python).parent()?.to_owned(), server: server.clone() })
    }

    /// Writes every object with the tool that its key begins with; `sources` holds the files.
    pub fn write_all(&self, sources: &Path, bucket: &str, objects: &[(&str, &str)]) {
        let of = |tool: &str| {
            let wanted = objects.iter().filter(|(key, _)| key.split('/').next() == Some(tool)).copied();
            wanted.collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let boto3 = scope.spawn(|| self.boto3(sources, bucket, &of("boto3")));
            self.aws(sources, bucket, &of("aws"));
            for (key, source) in of("s5cmd") {
                self.s5cmd(sources, source, bucket, key);
            }
            for (key, source) in of("rclone") {
                self.rclone(sources, source, bucket, key);
            }
            boto3.join().expect("boto3");
        });
    }

    /// One Python for all of boto3's objects: it takes a second to start.
    fn boto3(&self, sources: &Path, bucket: &str, objects: &[(&str, &str)]) {
        let mut command = self.command("python", sources);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recognise/uploads.py")).arg(bucket);
        for (key, source) in objects {
            command.arg(key).arg(source);
        }
        run(command);
    }

    /// A folder at once: it takes seconds to start.
    fn aws(&self, sources: &Path, bucket: &str, objects: &[(&str, &str)]) {
        std::fs::create_dir(sources.join("aws")).unwrap();
        for (key, source) in objects {
            std::fs::hard_link(sources.join(source), sources.join(key)).unwrap();
        }
        let mut command = self.command("aws", sources);
        command.args(["s3", "cp", "--only-show-errors", "--recursive", "aws"]).arg(format!("s3://{bucket}/aws"));
        run(command);
    }

    fn s5cmd(&self, sources: &Path, source: &str, bucket: &str, key: &str) {
        let mut command = self.command("s5cmd", sources);
        command.args(["--log", "error", "cp"]).arg(source).arg(format!("s3://{bucket}/{key}"));
        run(command);
    }

    fn rclone(&self, sources: &Path, source: &str, bucket: &str, key: &str) {
        let mut command = self.command("rclone", sources);
        command
            .args(["copyto", "--config", "/dev/null", "--s3-upload-cutoff", "5Mi", "--retries", "1"])
            .arg(source)
            .arg(format!(":s3:{bucket}/{key}"))
            .env("RCLONE_S3_PROVIDER", "Other")
            .env("RCLONE_S3_ENV_AUTH", "true")
            .env("RCLONE_S3_REGION", REGION)
            .env("RCLONE_S3_ENDPOINT", &self.server.endpoint);
        run(command);
    }

    /// What a person pastes into a shell.
    pub fn shell(&self, folder: &Path, line: &str) -> std::process::Output {
        let mut command = self.command("/bin/sh", folder);
        command.args(["-c", line]).env("PATH", format!("{}:/usr/bin:/bin", self.folder.display()));
        command.output().unwrap()
    }

    fn command(&self, tool: &str, sources: &Path) -> Command {
        let mut command = Command::new(self.folder.join(tool));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", sources)
            .current_dir(sources)
            .env("LC_ALL", "C.UTF-8")
            .env("AWS_ENDPOINT_URL", &self.server.endpoint)
            .env("S3_ENDPOINT_URL", &self.server.endpoint)
            .env("AWS_ACCESS_KEY_ID", &self.server.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.server.secret_key)
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }
}

fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
}
