//! The same answer in another dress: indented, or compressed.
//!
//! Invariants
//! - streams are passed on untouched;
//! - nothing is compressed that the caller did not ask for so.
use std::io::Write as _;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;

use super::Shared;

/// Below this a compressed body is hardly smaller.
const GZIP_BYTES_MIN: u64 = 1_400;

pub(super) async fn dress(State(_): State<Shared>, request: Request, next: Next) -> Response {
    let pretty = wants_pretty(request.uri().query().unwrap_or_default());
    let gzip = accepts_gzip(request.headers());
    let response = next.run(request).await;
    let Some(bytes) = response.body().size_hint().exact() else { return response };
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let is_plain = !response.headers().contains_key(header::CONTENT_ENCODING);
    let gzip = gzip && GZIP_BYTES_MIN <= bytes;
    if !is_json || !is_plain || !(pretty || gzip) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return Response::from_parts(parts, Body::empty()) };
    let mut bytes = body.to_bytes().to_vec();
    if pretty && let Some(indented) = indented(&bytes) {
        bytes = indented;
    }
    if gzip && let Some(smaller) = compressed(&bytes) {
        bytes = smaller;
        parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    parts.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(bytes))
}

/// `pretty` with any value but 0.
fn wants_pretty(query: &str) -> bool {
    query.split('&').any(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        key == "pretty" && value != "0"
    })
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    codings.any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = quality.trim().trim_start_matches("q=").parse() == Ok(0.0_f32);
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

fn indented(bytes: &[u8]) -> Option<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let mut text = Vec::with_capacity(bytes.len() * 2);
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut to = serde_json::Serializer::with_formatter(&mut text, indent);
    serde::Serialize::serialize(&value, &mut to).ok()?;
    text.push(b'\n');
    Some(text)
}

fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_only_where_it_is_asked_for() {
        let accepts = |text: &str| {
            let value = text.parse().unwrap();
            accepts_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]))
        };
        assert!(accepts("gzip") && accepts("deflate, gzip;q=0.5") && accepts("*"));
        assert!(!accepts("identity") && !accepts("gzip;q=0") && !accepts(""));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn pretty_is_any_value_but_zero() {
        assert!(wants_pretty("pretty") && wants_pretty("a=b&pretty=true"));
        assert!(!wants_pretty("pretty=0") && !wants_pretty("prettyplease"));
        assert_eq!(indented(b"{\"a\":[1]}").unwrap(), b"{\n    \"a\": [\n        1\n    ]\n}\n");
    }
}
