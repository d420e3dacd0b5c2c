//! What a page is given: who asks, for what, and what stands in the form that was sent.

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use maud::Markup;

use super::{
    FRAGMENT,
    page::{Frame, Page, Section},
};
use crate::{
    http::{
        Answer, Shared, blocking,
        body::Reader,
        door::REQUEST_ID,
        given::{InPath, Query},
        problem::Problem,
    },
    ids::TenantId,
    service::{access::Caller, error::ServiceError},
};

/// A request for a page, by somebody who was let in.
pub(super) struct Visit {
    pub(super) service: Shared,
    pub(super) caller: Caller,
    pub(super) path: InPath,
    pub(super) query: Query,
    pub(super) fragment: bool,
    /// What the server's clock shows.
    pub(super) now: i64,
}

impl FromRequestParts<Shared> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Shared) -> Result<Self, Problem> {
        Ok(Self {
            service: service.clone(),
            caller: Caller::from_request_parts(parts, service).await?,
            path: InPath::from_request_parts(parts, service).await?,
            query: Query::from_request_parts(parts, service).await?,
            fragment: parts.headers.contains_key(FRAGMENT),
            now: service.now_millis(),
        })
    }
}

impl Visit {
    /// A page that is the answer.
    pub(super) fn page(&self, section: Section, title: &str, body: Markup) -> Page {
        Page::new(
            &Frame { caller: Some(&self.caller), fragment: self.fragment },
            section,
            title,
            body,
        )
    }

    /// Asks the service what takes files.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Shared, &Caller) -> Result<T, ServiceError> + Send + 'static,
    ) -> Answer<T> {
        let caller = self.caller.clone();
        blocking(self.service.clone(), move |service| what(service, &caller)).await
    }

    /// The tenant that the query names; an empty one is none, as forms send it.
    pub(super) fn tenant(&self) -> Answer<Option<TenantId>> {
        match self.query.get("tenant") {
            None | Some("") => Ok(None),
            Some(_) => self.query.tenant(),
        }
    }

    /// Something that the query says, if it says anything.
    pub(super) fn said(&self, name: &str) -> Option<&str> {
        self.query.get(name).filter(|value| !value.is_empty())
    }
}

/// What the door calls the request.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    id.unwrap_or_default().to_owned()
}

/// What stands in a form: names and values, in order.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads it from a body of so many bytes at most.
    pub(super) async fn read(service: &Shared, body: Body, longest: usize) -> Answer<Self> {
        let reader = Reader::new(body, service.spec().read_timeout);
        let text = reader.text("a form", longest).await?;
        Ok(Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    }

    /// The last value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The same, if there is anything in it.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }
}
