//! How fast requests and bytes may leave. What is allowed is decided elsewhere; here it is waited for.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::body::{CHUNK_BYTES, Watch};

/// Takes so many units, and says how long they must wait before they leave.
pub type Toll = Arc<dyn Fn(u64) -> Duration + Send + Sync>;

/// What leaves a store, and how fast; no limit where there is no toll. Stores that share a toll share its rate.
#[derive(Clone, Default)]
pub struct Limits {
    /// Takes each request.
    pub requests: Option<Toll>,
    /// Takes the bytes of bodies, frame by frame.
    pub bytes: Option<Toll>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |toll: &Option<Toll>| if toll.is_some() { "limited" } else { "free" };
        write!(f, "Limits(requests {}, bytes {})", word(&self.requests), word(&self.bytes))
    }
}

impl Limits {
    /// Waits until one request may leave.
    pub(super) async fn turn(&self) {
        pay(self.requests.as_ref(), 1).await;
    }

    /// Waits until a body's first frame may leave, and says how many bytes that were. It is waited for before anything is
    /// sent: a server that has seen the head of a request does not wait long for its body.
    pub(super) async fn first_frame(&self, size: u64) -> u64 {
        let bytes = size.min(CHUNK_BYTES as u64);
        pay(self.bytes.as_ref(), bytes).await;
        bytes
    }

    /// The same body, each frame of which waits until it may leave. `paid` bytes need not.
    pub(super) fn shape(&self, stream: ByteStream, watch: &Arc<Watch>, paid: u64) -> ByteStream {
        match &self.bytes {
            None => stream,
            Some(toll) => {
                let inner = stream.into_inner();
                let shaped = Shaped { inner, toll: Arc::clone(toll), watch: Arc::clone(watch), paid, wait: None };
                ByteStream::new(SdkBody::from_body_1_x(shaped))
            }
        }
    }

    /// A client whose repetitions are counted. They are sent at once, since the SDK has paused by then, and what comes
    /// after them waits the longer.
    pub(super) fn counting(&self, client: &Client) -> Client {
        match &self.requests {
            None => client.clone(),
            Some(toll) => {
                Client::from_conf(client.config().to_builder().interceptor(Repetitions(Arc::clone(toll))).build())
            }
        }
    }
}

async fn pay(toll: Option<&Toll>, units: u64) {
    if let Some(toll) = toll {
        let wait = toll(units);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

struct Repetitions(Toll);

impl fmt::Debug for Repetitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Repetitions")
    }
}

impl Intercept for Repetitions {
    fn name(&self) -> &'static str {
        "Repetitions"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if bag.load::<RequestAttempts>().is_some_and(|attempts| attempts.attempts() > 1) {
            (self.0)(1);
        }
        Ok(())
    }
}

/// A body whose frames wait. What waits here has not left: neither the watch nor whoever counts bytes sees it before.
struct Shaped {
    inner: SdkBody,
    toll: Toll,
    watch: Arc<Watch>,
    /// Bytes that may leave at once.
    paid: u64,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Body for Shaped {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let left = this.inner.size_hint().lower();
        if this.paid == 0 && left > 0 {
            this.paid = left.min(CHUNK_BYTES as u64);
            let wait = (this.toll)(this.paid);
            if !wait.is_zero() {
                this.watch.hold();
                this.wait = Some(Box::pin(sleep(wait)));
            }
        }
        if let Some(wait) = &mut this.wait {
            ready!(wait.as_mut().poll(cx));
            this.wait = None;
            this.watch.release();
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            this.paid = this.paid.saturating_sub(frame.data_ref().map_or(0, |bytes| bytes.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use http_body_util::BodyExt as _;

    use super::*;
    use crate::store::s3::body::whole;

    /// A toll that asks for these waits in turn, then for none, and writes down what it took.
    fn toll(waits: &[u64]) -> (Toll, Arc<Mutex<Vec<u64>>>) {
        let waits = Mutex::new(waits.iter().copied().map(Duration::from_millis).collect::<VecDeque<_>>());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&taken);
        let toll = Arc::new(move |units| {
            log.lock().unwrap().push(units);
            waits.lock().unwrap().pop_front().unwrap_or_default()
        });
        (toll, taken)
    }

    #[tokio::test]
    async fn each_frame_is_paid_for_once_and_before_it_leaves() {
        let chunk = CHUNK_BYTES as u64;
        // (size, paid before, taken)
        for (size, paid, expected) in [
            (3 * chunk + 5, 0, vec![chunk, chunk, chunk, 5]),
            (3 * chunk, chunk, vec![chunk, chunk]),
            (chunk, chunk, vec![]),
            (5, 5, vec![]),
            (5, 0, vec![5]),
            (0, 0, vec![]),
        ] {
            let (toll, taken) = toll(&[]);
            let left = Arc::new(Mutex::new(Vec::new()));
            let (leaves, before) = (Arc::clone(&left), Arc::clone(&taken));
            let sent = move |bytes| leaves.lock().unwrap().push((bytes, before.lock().unwrap().iter().sum::<u64>()));
            let bytes = Bytes::from(vec![7; usize::try_from(size).unwrap()]);
            let outgoing = whole(bytes.clone(), Arc::new(sent));
            let limits = Limits { bytes: Some(toll), requests: None };
            let shaped = limits.shape(outgoing.stream, &outgoing.watch, paid);
            assert_eq!(shaped.into_inner().collect().await.unwrap().to_bytes(), bytes);
            assert_eq!(*taken.lock().unwrap(), expected, "{size}, {paid} paid");
            let mut sum = 0;
            for (bytes, taken) in &*left.lock().unwrap() {
                sum += bytes;
                assert!(sum <= paid + taken, "{sum} left, {paid} and {taken} were paid");
            }
            assert_eq!(sum, size);
        }
    }

    #[tokio::test]
    async fn a_body_that_waits_for_its_turn_moves_in_the_watchs_eyes() {
        let (toll, _) = toll(&[0, 1]);
        let outgoing = whole(Bytes::from(vec![0; 2 * CHUNK_BYTES]), Arc::new(|_| ()));
        let watch = outgoing.watch;
        let limits = Limits { bytes: Some(toll), requests: None };
        let mut body = limits.shape(outgoing.stream, &watch, 0).into_inner();
        body.frame().await.unwrap().unwrap();
        assert_eq!((watch.frames(), watch.is_held()), (1, false));
        let second = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx).is_pending()));
        assert!(second.await, "it waits");
        assert_eq!((watch.frames(), watch.is_held()), (1, true), "nothing left, and nothing stalled");
        body.frame().await.unwrap().unwrap();
        assert!(!watch.is_held());
        // The end of the wait counts too: what comes after it has all of its time.
        assert_eq!(watch.frames(), 3);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn without_limits_nothing_is_wrapped_and_nothing_waits() {
        let limits = Limits::default();
        limits.turn().await;
        assert_eq!(limits.first_frame(7).await, 7);
        let outgoing = whole(Bytes::from_static(b"bytes"), Arc::new(|_| ()));
        let stream = limits.shape(outgoing.stream, &outgoing.watch, 0);
        assert_eq!(stream.into_inner().collect().await.unwrap().to_bytes(), "bytes");
        assert_eq!(format!("{limits:?}"), "Limits(requests free, bytes free)");
    }
}
