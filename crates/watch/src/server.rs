//! The server: a thread of its own with everything that answers.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use tokio::sync::{Semaphore, oneshot};

use crate::api::router;
use crate::connection;
use crate::error::{Result, WatchError};
use crate::guard::Hosts;
use crate::runs::Runs;

/// Clients at a time; others wait.
const MAX_CONNECTIONS: usize = 256;
/// Threads that read files.
const READERS: usize = 2;
/// A pause after an accept that failed, as it does where too many files are open.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for what is being answered when the server stops.
const LAST_ANSWERS: Duration = Duration::from_millis(300);
/// Somebody who asked within this time is looking, and asks again within [`LAST_LOOK`].
const LOOKING: Duration = Duration::from_secs(10);
const LAST_LOOK: Duration = Duration::from_secs(5);

/// An address of this machine that clients can already come to, though nobody answers yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    hosts: Hosts,
}

impl Door {
    /// Listens on an address or name of this machine; port 0 is a free one.
    ///
    /// # Errors
    /// When there is no such host, or the port is taken or not to be had.
    pub fn open(host: &str, port: u16) -> Result<Self> {
        let listener = listen(host, port)?;
        let address = listener.local_addr().map_err(WatchError::Start)?;
        Ok(Self { listener, address, hosts: Hosts::of(host) })
    }
}

/// A running server. Stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    runs: Arc<Runs>,
    asked: Arc<Asked>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers for run folders and folders of run folders, from a thread of its own.
    ///
    /// # Errors
    /// When a path is no folder, or the system gives no thread.
    pub fn start(door: Door, paths: Vec<PathBuf>) -> Result<Self> {
        let Door { listener, address, hosts } = door;
        let runs = Arc::new(Runs::of(paths)?);
        let asked = Arc::new(Asked::new());
        let router = noting(router(Arc::clone(&runs), hosts), &asked);
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(READERS)
            .build()
            .map_err(WatchError::Start)?;
        let serve = move || {
            runtime.block_on(accept(listener, router, stopped));
            runtime.shutdown_timeout(LAST_ANSWERS);
        };
        let thread =
            std::thread::Builder::new().name("watch".into()).spawn(serve).map_err(WatchError::Start)?;
        Ok(Self { address, runs, asked, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the page is. A server that listens on all addresses is found at this machine's own.
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        format!("http://{}/", SocketAddr::new(ip, self.address.port()))
    }

    /// Runs that were found so far.
    pub fn runs(&self) -> usize {
        self.runs.count()
    }

    /// Gives a page that is being looked at the time to ask a last time. Returns at once where nobody looks.
    pub fn wait_for_last_look(&self) {
        if self.asked.ago().is_some_and(|ago| ago < LOOKING) {
            std::thread::sleep(LAST_LOOK);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A server that panicked has told so.
            let _ = thread.join();
        }
    }
}

/// When somebody asked last.
#[derive(Debug)]
struct Asked {
    start: Instant,
    /// Milliseconds after the start, and 1 more; 0 where nobody has.
    at: AtomicU64,
}

impl Asked {
    fn new() -> Self {
        Self { start: Instant::now(), at: AtomicU64::new(0) }
    }

    fn now(&self) {
        self.at.store(self.start.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
    }

    fn ago(&self) -> Option<Duration> {
        let at = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.start.elapsed().saturating_sub(Duration::from_millis(at)))
    }
}

/// Has every request noted.
fn noting(router: Router, asked: &Arc<Asked>) -> Router {
    let asked = Arc::clone(asked);
    router.layer(from_fn(move |request: Request, next: Next| {
        asked.now();
        next.run(request)
    }))
}

fn listen(host: &str, port: u16) -> Result<TcpListener> {
    let fail = |problem: String| WatchError::Host { host: host.to_owned(), problem };
    let plain = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let found = (plain, port).to_socket_addrs().map_err(|error| fail(error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    let address = addresses.first().ok_or_else(|| fail("it has no address".into()))?;
    let error = |source| WatchError::Listen { address: address.to_string(), source };
    let listener = TcpListener::bind(&addresses[..]).map_err(error)?;
    listener.set_nonblocking(true).map_err(WatchError::Start)?;
    Ok(listener)
}

/// Takes clients until the other end of `stopped` is gone.
async fn accept(listener: TcpListener, router: Router, mut stopped: oneshot::Receiver<()>) {
    // The listener is not blocking and this is inside a runtime: nothing else can be wrong with it.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (client, place) = tokio::select! {
            _ = &mut stopped => return,
            next = next => next,
        };
        match client {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    connection::serve(stream, router).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
