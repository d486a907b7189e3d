//! An S3 server in this process, on loopback, stored in a folder.
//!
//! It is for trying a manifest without an account, and for tests of answers that no other server gives. It decides
//! each write and its condition under one lock, and makes what S3 makes: versions, ETags, checksums. It must never be
//! reachable from another host unless told to, and never touch a folder that is not its own.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod body;
mod disk;
mod fault;
mod gate;
mod ops;
mod record;
mod shelf;
mod sum;
mod wire;

pub use fault::{Fault, Faults, Keys, Kind};

/// The region that the sandbox says it is in.
pub const REGION: &str = "us-east-1";

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Made when it is not there. Must be empty, or a sandbox's already.
    pub dir: PathBuf,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The account, 12 digits, that owns every bucket.
    pub owner: String,
    /// Refuses unsigned requests. Signed ones are always checked.
    pub require_auth: bool,
    /// Allows `listen` to be other than loopback.
    pub allow_remote: bool,
    /// A JSON array of [`Fault`]s to start with.
    pub faults_file: Option<PathBuf>,
}

impl Options {
    /// Loopback, a free port, signatures required.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            owner: "000000000000".to_owned(),
            require_auth: true,
            allow_remote: false,
            faults_file: None,
        }
    }
}

/// Why the sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{listen} is not a loopback address: the sandbox is not for other hosts; listen on 127.0.0.1")]
    NotLoopback { listen: SocketAddr },
    #[error("cannot listen on {listen}: {source}; name another port, or 0 for a free one")]
    Listen { listen: SocketAddr, source: io::Error },
    #[error("{} is in use by {holder}: stop that sandbox, or name another folder", dir.display())]
    Locked { dir: PathBuf, holder: String },
    #[error("{} is not empty and not a sandbox of this version: name an empty or a new folder", dir.display())]
    NotASandbox { dir: PathBuf },
    #[error("{}: {source}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("{}:{line}: not a record of the sandbox ({source}): the folder is damaged; name a new one", path.display())]
    Log { path: PathBuf, line: u64, source: serde_json::Error },
    #[error("{}: not a JSON array of faults: {source}", path.display())]
    Faults { path: PathBuf, source: serde_json::Error },
}

/// A running server. Dropped, it stops accepting; [`Sandbox::stop`] also waits for what is in flight.
pub struct Sandbox {
    endpoint: String,
    shelf: Arc<shelf::Shelf>,
    faults: Arc<Faults>,
    counts: Arc<wire::Counts>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// Starts a server on the current tokio runtime.
pub async fn serve(options: Options) -> Result<Sandbox, Error> {
    let Options { dir, listen, owner, require_auth, allow_remote, faults_file } = options;
    if !allow_remote && !listen.ip().is_loopback() {
        return Err(Error::NotLoopback { listen });
    }
    let faults = Arc::new(Faults::default());
    if let Some(path) = &faults_file {
        faults.load(path)?;
    }
    let shelf = Arc::new(shelf::Shelf::open(&dir)?);
    let flaw = |source| Error::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(flaw)?;
    let address = listener.local_addr().map_err(flaw)?;
    let counts = Arc::new(wire::Counts::default());

    let identity = &shelf.disk.identity;
    let mut builder = S3ServiceBuilder::new(ops::Service { shelf: Arc::clone(&shelf), owner: owner.clone() });
    builder.set_auth(gate::Keys { access_key: identity.access_key.clone(), secret_key: identity.secret_key.clone() });
    builder.set_access(gate::Gate {
        shelf: Arc::clone(&shelf),
        faults: Arc::clone(&faults),
        counts: Arc::clone(&counts),
        owner,
        require_auth,
    });
    let (stop, stopped) = watch::channel(false);
    let accepting = tokio::spawn(wire::accept(listener, builder.build(), stopped));
    Ok(Sandbox { endpoint: format!("http://{address}"), shelf, faults, counts, stop, accepting })
}

impl Sandbox {
    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder's own, made with it: the same at every start.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.shelf.disk.identity.access_key
    }

    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.shelf.disk.identity.secret_key
    }

    #[must_use]
    pub fn region(&self) -> &'static str {
        REGION
    }

    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Requests since the start, by operation (`PutObject`, `HeadObject`, ..). Those with a bad signature are not counted.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.counts.all()
    }

    /// Stops accepting, lets requests in flight end, and frees the folder.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.accepting).await {
            tracing::debug!(%error, "sandbox: did not end well");
        }
        self.shelf.disk.unlock();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
