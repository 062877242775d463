//! What is answered to which address.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use residuum_train::EvaluationRecord;
use residuum_train::report::{RunReader, RunReport, document};
use serde::Serialize;

use crate::guard::{Hosts, guard};
use crate::runs::{Listed, Runs, lock};

/// Version of every JSON form. A field that is added leaves it as it is; any other change raises it.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Envelope<T> {
    schema: &'static str,
    version: u32,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize)]
struct List {
    runs: Vec<Listed>,
    left_out: usize,
}

#[derive(Serialize)]
struct Run {
    id: String,
    #[serde(flatten)]
    report: RunReport,
}

#[derive(Serialize)]
struct Evaluation {
    id: String,
    evaluation: EvaluationRecord,
}

#[derive(Serialize)]
struct Failure<'a> {
    error: &'a str,
}

type Answer = Result<Response, Response>;

/// The addresses of this server.
pub(crate) fn router(runs: Arc<Runs>, hosts: Hosts) -> Router {
    let only = |route: MethodRouter<Arc<Runs>>| {
        route.fallback(async || failure(StatusCode::METHOD_NOT_ALLOWED, "expected GET or HEAD"))
    };
    Router::new()
        .route("/", only(get(async || Html(document(None)))))
        .route("/api/runs", only(get(list)))
        .route("/api/runs/{id}", only(get(run)))
        .route("/api/runs/{id}/evaluation", only(get(evaluation)))
        .fallback(async || {
            failure(
                StatusCode::NOT_FOUND,
                "there are /, /api/runs, /api/runs/{id} and /api/runs/{id}/evaluation",
            )
        })
        .with_state(runs)
        .layer(from_fn_with_state(hosts, guard))
}

/// An answer that something is wrong.
pub(crate) fn failure(status: StatusCode, error: &str) -> Response {
    let text = serde_json::to_string(&Failure { error }).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn list(State(runs): State<Arc<Runs>>) -> Answer {
    let text = read(move || {
        let (runs, left_out) = runs.list();
        Ok(json("residuum.watch.runs", List { runs, left_out }))
    });
    text.await
}

async fn run(State(runs): State<Arc<Runs>>, Path(id): Path<String>) -> Answer {
    of_run(runs, id, "residuum.watch.run", |id, reader| Some(Run { report: reader.report(), id })).await
}

async fn evaluation(State(runs): State<Arc<Runs>>, Path(id): Path<String>) -> Answer {
    let found =
        |id, reader: &mut RunReader| reader.evaluation().map(|evaluation| Evaluation { id, evaluation });
    of_run(runs, id, "residuum.watch.evaluation", found).await
}

/// What `find` makes of the reader of a run that is known.
async fn of_run<T: Serialize + 'static>(
    runs: Arc<Runs>,
    id: String,
    schema: &'static str,
    find: impl FnOnce(String, &mut RunReader) -> Option<T> + Send + 'static,
) -> Answer {
    read(move || {
        let reader = runs.get(&id).ok_or("there is no run of this id; /api/runs lists those there are")?;
        let found = find(id, &mut lock(&reader)).ok_or("this run has no evaluation yet")?;
        Ok(json(schema, found))
    })
    .await
}

/// Reads files where that delays no other request; what is not there is told.
async fn read(work: impl FnOnce() -> Result<String, &'static str> + Send + 'static) -> Answer {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(text)) => Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response()),
        Ok(Err(missing)) => Err(failure(StatusCode::NOT_FOUND, missing)),
        Err(_) => Err(failure(StatusCode::INTERNAL_SERVER_ERROR, "the run could not be read")),
    }
}

fn json(schema: &'static str, content: impl Serialize) -> String {
    serde_json::to_string(&Envelope { schema, version: VERSION, content }).unwrap_or_default()
}
