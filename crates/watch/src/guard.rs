//! Who may ask, and what every answer says about itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::failure;

/// Names by which this server may be asked, beside addresses.
#[derive(Clone, Debug)]
pub(crate) struct Hosts(Arc<[String]>);

impl Hosts {
    /// `localhost` and the host that was asked for.
    pub(crate) fn of(host: &str) -> Self {
        Self(["localhost".to_owned(), host.to_ascii_lowercase()].into())
    }

    /// Whether a `Host` header names this server. An address does: only a name can be made to lead
    /// elsewhere after a page came from it.
    fn admit(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        address.parse::<IpAddr>().is_ok() || self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// Refuses who asks by a foreign name, and has every answer kept from other pages.
pub(crate) async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = match host {
        Some(host) if hosts.admit(host) => next.run(request).await,
        Some(_) => {
            let problem = "this server answers to addresses, localhost and its own --host only";
            failure(StatusCode::MISDIRECTED_REQUEST, problem).into_response()
        }
        None => failure(StatusCode::BAD_REQUEST, "expected a Host header").into_response(),
    };
    response.headers_mut().extend(HEADERS.map(|(name, value)| (Some(name), value)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_own_names_are_admitted_and_foreign_names_are_not() {
        let hosts = Hosts::of("Box.local");
        for host in [
            "127.0.0.1:8015",
            "127.0.0.1",
            "[::1]:8015",
            "localhost",
            "LOCALHOST:1",
            "box.local:8015",
            "192.168.1.7",
        ] {
            assert!(hosts.admit(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8015",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "",
            ":80",
            "box",
        ] {
            assert!(!hosts.admit(host), "{host}");
        }
    }
}
