//! The sockets: accepting, answering, losing answers on purpose, stopping.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::S3Service;
use s3s::{Body, HttpResponse, S3Error, S3Result, s3_error};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::fault::{Kind, Verdict};

/// What is known of one request beside what the protocol carries. Travels in the request's extensions.
#[derive(Debug, Default)]
pub(super) struct Passage {
    /// Set once, when the operation is known.
    pub kinds: OnceLock<Vec<Kind>>,
    lost: AtomicBool,
}

impl Passage {
    pub fn kinds(&self) -> &[Kind] {
        self.kinds.get().map_or(&[], Vec::as_slice)
    }

    /// Lets the faults that come before a request's commit have their way.
    pub fn before(&self) -> S3Result<()> {
        match self.kinds().iter().find_map(Kind::before) {
            None => Ok(()),
            Some(Verdict::Answer(error)) => Err(*error),
            Some(Verdict::Lost) => {
                self.lost.store(true, Ordering::Relaxed);
                Err(s3_error!(InternalError, "this answer is never sent"))
            }
        }
    }
}

/// Requests by operation.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<String, u64>>);

impl Counts {
    pub fn add(&self, operation: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(operation.to_owned()).or_default() += 1;
    }

    pub fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How long a stop waits for clients that do not end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Closes the connection: hyper drops it when the service fails.
#[derive(Debug, thiserror::Error)]
#[error("answer lost on purpose")]
struct Lost;

/// Accepts until told to stop, then waits for what is in flight.
pub(super) async fn accept(listener: TcpListener, service: S3Service, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let ids = Arc::new(AtomicU64::new(1));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An error is the sender dropped with its sandbox: the same as a stop.
            _ = stop.changed() => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(talk(stream, service.clone(), Arc::clone(&ids), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "sandbox: accept failed");
                // Out of file descriptors, most likely: give the others time to end.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, ended).await.is_err() {
        tracing::warn!("sandbox: a client neither ended nor went away; its connection is closed");
        connections.shutdown().await;
    }
}

async fn talk(stream: TcpStream, service: S3Service, ids: Arc<AtomicU64>, mut stop: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "sandbox: no TCP_NODELAY");
    }
    let answer = service_fn(|request| answer(request, &service, &ids));
    let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "sandbox: connection ended");
    }
}

async fn answer(request: Request<Incoming>, service: &S3Service, ids: &AtomicU64) -> Result<HttpResponse, Lost> {
    let passage = Arc::new(Passage::default());
    let mut request = request.map(Body::from);
    request.extensions_mut().insert(Arc::clone(&passage));
    let mut response = match service.call(request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(?error, "sandbox: no answer could be made");
            return Err(Lost);
        }
    };
    if passage.lost.load(Ordering::Relaxed) {
        return Err(Lost);
    }
    for kind in passage.kinds() {
        if let Kind::SlowAnswer { ms } = kind {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
        }
    }
    match passage.kinds().iter().find_map(Kind::after) {
        None => {}
        Some(Verdict::Lost) => return Err(Lost),
        Some(Verdict::Answer(error)) => response = render(*error)?,
    }
    sign(response.headers_mut(), ids.fetch_add(1, Ordering::Relaxed));
    Ok(response)
}

fn render(error: S3Error) -> Result<HttpResponse, Lost> {
    error.to_http_response().map_err(|_| Lost)
}

/// Adds the headers that S3 puts on every answer.
fn sign(headers: &mut HeaderMap, id: u64) {
    if let Ok(value) = HeaderValue::from_str(&format!("SANDBOX{id:09X}")) {
        headers.insert("x-amz-request-id", value);
    }
    headers.insert("server", HeaderValue::from_static("noclobber-sandbox"));
}
