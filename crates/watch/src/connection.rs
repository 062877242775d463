//! One client: bounded in what it may send and in how long it may take.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Time for the headers of a request, and for a connection without one.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Age at which a connection takes no further request.
const AGE: Duration = Duration::from_secs(30);
/// Time for the last answer after that: who has not read it by then is cut off.
const LAST_ANSWER: Duration = Duration::from_secs(30);
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 << 10;

/// Answers one client until it goes or its time is over.
pub(crate) async fn serve(stream: TcpStream, router: Router) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // A client that breaks off or sends what is no request is its own affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(AGE) => connection.as_mut().graceful_shutdown(),
    }
    let _ = timeout(LAST_ANSWER, connection).await;
}
