//! `sandbox`: the embedded server for any S3 client, until interrupted.

use crate::flow::cancel::Cancel;
use crate::model::exit::Exit;
use crate::sandbox::{Options, serve};

use super::args::{Global, Sandbox};
use super::out::Out;
use super::{Ended, Failure, signal};

pub(super) async fn sandbox(global: &Global, args: Sandbox, out: Out) -> Ended {
    let mut options = Options::new(args.dir);
    options.listen = args.listen;
    options.faults_file.clone_from(&global.sandbox_faults);
    let sandbox = serve(options).await.map_err(|error| Failure::new(Exit::CouldNotRun, error))?;
    let cancel = Cancel::default();
    signal::heed(&cancel, out);
    out.result(&format!(
        "export AWS_ENDPOINT_URL_S3={}\nexport AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\nexport AWS_REGION={}",
        sandbox.endpoint(),
        sandbox.access_key(),
        sandbox.secret_key(),
        sandbox.region()
    ))?;
    out.note("serving until interrupted (Ctrl-C)");
    cancel.wished().await;
    sandbox.stop().await;
    // An interruption is how this ends when all is well.
    Ok(Exit::Done)
}
