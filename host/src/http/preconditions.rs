//! `If-Match` and `If-None-Match` of a request that is to change something, as conditions that
//! `service` looks at.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, header, request::Parts},
};

use super::{Shared, problem::Problem};
use crate::service::precondition::{Precondition, States};

impl FromRequestParts<Shared> for Precondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        Ok(Self {
            is: states(&parts.headers, &header::IF_MATCH)?,
            is_not: states(&parts.headers, &header::IF_NONE_MATCH)?,
        })
    }
}

fn states(headers: &HeaderMap, name: &HeaderName) -> Result<Option<States>, Problem> {
    let mut tags = Vec::new();
    let mut said = false;
    for value in headers.get_all(name) {
        said = true;
        let text = value.to_str().unwrap_or("?").trim();
        if text == "*" {
            return Ok(Some(States::Any));
        }
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let strong = tag.strip_prefix("W/").unwrap_or(tag);
            if strong.len() < 2 || !strong.starts_with('"') || !strong.ends_with('"') {
                return Err(Problem::invalid(format!(
                    "the header `{name}` must be `*`, or entity tags as `ETag` has them, such as \
                     \"sha256-…\""
                )));
            }
            // What is weak means something else, and is none of ours.
            if strong == tag {
                tags.push(tag.to_owned());
            }
        }
    }
    Ok(said.then_some(States::These(tags)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_read_and_what_is_none_is_refused() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_MATCH, value.parse().unwrap());
            }
            states(&headers, &header::IF_MATCH).ok()
        };
        let these = |tags: &[&str]| {
            Some(Some(States::These(tags.iter().map(|tag| (*tag).to_owned()).collect())))
        };
        assert_eq!(read(&[]), Some(None));
        assert_eq!(read(&["*"]), Some(Some(States::Any)));
        assert_eq!(read(&["\"a\", W/\"b\"", "\"c\""]), these(&["\"a\"", "\"c\""]));
        assert_eq!(read(&[""]), these(&[]), "nothing matches");
        assert_eq!(read(&["a"]), None);
        assert_eq!(read(&["\""]), None);
    }
}
