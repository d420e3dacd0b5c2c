//! The files that pages load: they are in the program, and named with what is in them, so that a
//! browser asks for each once.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::http::{Answer, problem::Problem};

/// A file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    /// The beginning of its digest.
    digest: LazyLock<String>,
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        Asset {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("assets/", $name)),
            digest: LazyLock::new(|| digest(include_bytes!(concat!("assets/", $name)))),
        }
    };
}

static ASSETS: [Asset; 3] = [
    asset!("app.css", "text/css; charset=utf-8"),
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
];

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().chars().take(16).collect()
}

/// Where a page finds a file.
pub(super) fn href(name: &str) -> String {
    let digest = ASSETS.iter().find(|asset| asset.name == name).map(|asset| asset.digest.as_str());
    format!("/console/assets/{name}?v={}", digest.unwrap_or_default())
}

/// A file.
pub(super) async fn get(
    Path(file): Path<String>,
    uri: axum::http::Uri,
    headers: HeaderMap,
) -> Answer<Response> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == file) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such file"));
    };
    let tag = HeaderValue::try_from(format!("\"{}\"", *asset.digest))
        .map_err(|error| Problem::bug(&error))?;
    let named = uri.query().and_then(|query| query.strip_prefix("v="));
    let keep = match named == Some(asset.digest.as_str()) {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers_out = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
    ];
    if headers.get(header::IF_NONE_MATCH) == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, headers_out).into_response());
    }
    Ok((headers_out, asset.bytes).into_response())
}
