//! The door: arguments, environment, printing, exit codes. One short file a verb.

mod after;
mod apply;
mod args;
mod bucket;
mod bucket_check;
mod check;
mod diff;
mod init;
mod out;
mod place;
mod plan;
mod policy;
mod reach;
mod report;
mod rollback;
mod run;
mod sandbox;
mod schema;
mod show;
mod signal;
mod verify;
mod versions;
mod watch;

use std::ffi::OsString;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::model::exit::Exit;
use crate::model::row::Tally;

use args::{Bucket, BucketVerb, Cli, Verb};
use out::Out;

/// A command that did not do what it was asked: how it ends, and what to tell.
#[derive(Debug)]
pub(crate) struct Failure {
    pub exit: Exit,
    pub text: String,
    /// What was done before it came to this, where anything was.
    pub tally: Option<Box<Tally>>,
}

impl Failure {
    // Errors come by value from `map_err`.
    #[allow(clippy::needless_pass_by_value)]
    pub fn new(exit: Exit, text: impl ToString) -> Self {
        Self { exit, text: text.to_string(), tally: None }
    }
}

pub(crate) type Ended = Result<Exit, Failure>;

/// Runs the command line, and says how the process is to end.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is a wrong command line. clap's own code for that is 2,
            // which here means something else.
            let exit = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            };
            return if error.print().is_ok() { exit } else { Exit::CouldNotRun };
        }
    };
    let out = Out::new(cli.global.json, cli.global.quiet);
    log_to_stderr(cli.global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            out.error(&format!("the asynchronous runtime could not be started: {error}"));
            return Exit::CouldNotRun;
        }
    };
    let ended = runtime.block_on(dispatch(cli, out));
    // A look that hangs must not keep the process: everything that matters has been awaited.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit,
        Err(failure) => {
            out.error(&failure.text);
            failure.exit
        }
    }
}

async fn dispatch(cli: Cli, out: Out) -> Ended {
    let Cli { global, verb } = cli;
    match verb {
        Verb::Init(args) => init::init(&args, out),
        Verb::Check(args) => check::check(args, out),
        Verb::Plan(args) => Box::pin(plan::plan(&global, args, out)).await,
        Verb::Show(args) => show::show(&args, out),
        Verb::Apply(args) => Box::pin(apply::apply(&global, args, out)).await,
        Verb::Run(args) => Box::pin(run::run(&global, args, out)).await,
        Verb::Report(args) => report::report(&args, out),
        Verb::Verify(args) => Box::pin(verify::verify(&global, args, out)).await,
        Verb::Bucket(Bucket { verb: BucketVerb::Check(args) }) => {
            Box::pin(bucket_check::check(&global, args, out)).await
        }
        Verb::Rollback(args) => Box::pin(rollback::rollback(&global, args, out)).await,
        Verb::Bucket(Bucket { verb: BucketVerb::Uploads(args) }) => Box::pin(bucket::uploads(&global, args, out)).await,
        Verb::Bucket(Bucket { verb: BucketVerb::Policy(args) }) => Box::pin(policy::policy(&global, args, out)).await,
        Verb::Bucket(Bucket { verb: BucketVerb::Versions(args) }) => {
            Box::pin(versions::versions(&global, args, out)).await
        }
        Verb::Sandbox(args) => sandbox::sandbox(&global, args, out).await,
        Verb::Schema(args) => schema::schema(&args, out),
        Verb::Completions(args) => schema::completions(&args, out),
        Verb::Man(args) => schema::man(&args, out),
    }
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "noclobber=info",
        2 => "noclobber=debug",
        _ => "debug",
    };
    // A second subscriber can only be set by a second `main` in one process; the first one's stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .try_init();
}
