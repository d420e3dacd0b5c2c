//! The OpenAPI document, made of what stands at each handler (`#[utoipa::path]`) and of the types
//! that are answered (`ToSchema`). What holds for every route is added here: variables of the
//! path, the tenant of the query, problem details, the token. Tests hold it to the routes, and
//! every answer that a test gets to what it says.

use std::sync::LazyLock;

use axum::http::Method;
use utoipa::{
    OpenApi as _, PartialSchema, ToSchema,
    openapi::{
        Components, Content, ContentBuilder, HeaderBuilder, OpenApi, RefOr, Required,
        ResponseBuilder,
        path::{Operation, ParameterBuilder, ParameterIn, PathItem},
        schema::{ArrayBuilder, ObjectBuilder, Ref, Schema, SchemaType, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    Answer, Json, artifacts, audit, checkpoints,
    door::{OPEN, REQUEST_ID},
    given::Query,
    health, jobs, keys, look, metrics, overview,
    problem::ProblemDetails,
    sources, tenants, tokens, trial, watch,
};
use crate::{
    ids::{
        ArtifactName, CheckpointId, JobId, JobName, KeyId, MAX_NAME, OperatorName, SavepointName,
        SlotId, TenantId, TokenId, VersionName,
    },
    registry::records::{Inspection, Role},
};

/// What every route says of itself. A new one is listed here; a test tells if it is not.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Cofferdam", description = "The REST API of `cofferdam serve`."),
    servers((url = "/")),
    paths(
        health::healthz,
        health::readyz,
        metrics::metrics,
        show,
        artifacts::list,
        artifacts::show,
        artifacts::show_version,
        artifacts::upload,
        artifacts::delete,
        artifacts::put_tag,
        trial::run,
        jobs::list,
        jobs::submit,
        jobs::show,
        jobs::plan,
        jobs::config,
        jobs::cancel,
        jobs::stop,
        jobs::restart,
        jobs::delete,
        jobs::rescale,
        jobs::limit,
        sources::show,
        sources::post,
        sources::end,
        checkpoints::list,
        checkpoints::trigger,
        checkpoints::config,
        checkpoints::show,
        checkpoints::savepoints,
        checkpoints::take,
        checkpoints::put,
        checkpoints::savepoint,
        checkpoints::dispose,
        look::exceptions,
        look::capsules,
        look::capsule,
        watch::logs,
        watch::tail,
        look::vertices,
        look::vertex,
        overview::overview,
        overview::config,
        overview::slots,
        overview::drain,
        overview::restore,
        overview::task_manager,
        tenants::list,
        tenants::show,
        tenants::put,
        tenants::delete,
        tenants::usage,
        keys::list,
        keys::add,
        keys::remove,
        audit::list,
        tokens::list,
        tokens::make,
        tokens::revoke,
    )
)]
struct Described;

type MakeSchema = fn() -> RefOr<Schema>;

/// What `tenant` in a query is, if nothing else is said.
const OF_WHOM: &str = "Whose; the token's own tenant if not given";

/// What the variables of paths are, wherever they stand.
const PARAMETERS: [(&str, &str, MakeSchema); 12] = [
    ("name", "The artifact", || reference::<ArtifactName>()),
    ("version", "The version; where it is only looked at, a tag too", || {
        reference::<VersionName>()
    }),
    ("tag", "The tag", || reference::<VersionName>()),
    ("id", "The job", || reference::<JobId>()),
    ("token", "The token's `id`", || reference::<TokenId>()),
    ("key", "The key's `id`", || reference::<KeyId>()),
    ("checkpoint", "The checkpoint's number", || reference::<CheckpointId>()),
    ("savepoint", "The savepoint", || reference::<SavepointName>()),
    ("capsule", "The file of the crash capsule", || {
        ObjectBuilder::new().schema_type(Type::String).into()
    }),
    ("operator", "The source, operator or sink", || reference::<OperatorName>()),
    ("slot", "The slot's number", || reference::<SlotId>()),
    ("tenant", "The tenant", || reference::<TenantId>()),
];

/// The name of the security scheme.
const TOKEN: &str = "token";

/// The document. Made once.
pub fn document() -> &'static OpenApi {
    static MADE: LazyLock<OpenApi> = LazyLock::new(|| {
        let mut document = Described::openapi();
        let components = document.components.get_or_insert_with(Components::new);
        let mut named = vec![(ProblemDetails::name().into_owned(), ProblemDetails::schema())];
        ProblemDetails::schemas(&mut named);
        components.schemas.extend(named);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("cfd_…");
        components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer.build()));
        for (path, item) in &mut document.paths.paths {
            for (_, operation) in operations(item) {
                complete(path, operation);
            }
        }
        document
    });
    &MADE
}

/// This document
///
/// It is OpenAPI 3.1, and made by the server that answers.
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "showOpenapi",
    responses((status = 200, description = "The document", body = serde_json::Value)))]
pub(super) async fn show(query: Query) -> Answer<Json<&'static OpenApi>> {
    query.only(&[])?;
    Ok(Json(document()))
}

/// What is said of each path: its methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [
        (Method::GET, get),
        (Method::PUT, put),
        (Method::POST, post),
        (Method::DELETE, delete),
        (Method::PATCH, patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds what holds for every route.
fn complete(path: &str, operation: &mut Operation) {
    let open = OPEN.contains(&path);
    let tag = path.trim_start_matches("/v1").split('/').nth(1).filter(|_| !open);
    operation.tags = Some(vec![tag.unwrap_or("health").to_owned()]);
    operation.security =
        Some(if open { Vec::new() } else { vec![SecurityRequirement::new(TOKEN, [""; 0])] });
    let given = operation.parameters.get_or_insert_default();
    for (name, description, schema) in PARAMETERS {
        if path.contains(&format!("{{{name}}}")) {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
            let parameter = parameter.required(Required::True).description(Some(description));
            given.push(parameter.schema(Some(schema())).build());
        }
    }
    let tenant = given.iter_mut().find(|parameter| parameter.name == "tenant");
    if let Some(tenant) = tenant {
        tenant.description.get_or_insert_with(|| OF_WHOM.to_owned());
    }
    let problem = content(Ref::from_schema_name(ProblemDetails::name()));
    let response = ResponseBuilder::new().description("What is wrong: RFC 9457");
    let response = response.content("application/problem+json", problem).build();
    operation.responses.responses.insert("default".to_owned(), response.into());
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let id = HeaderBuilder::new().schema(ObjectBuilder::new().schema_type(Type::String));
            let id = id.description(Some("What the request is called by in logs"));
            response.headers.insert(REQUEST_ID.to_owned(), id.build());
        }
    }
}

fn content(schema: Ref) -> Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// A kind of name or identifier, as a schema.
macro_rules! text {
    ($type:ty, $description:literal, $pattern:expr, $longest:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String);
                let text = text.description(Some($description)).pattern(Some($pattern));
                text.max_length(Some($longest)).into()
            }
        }

        impl ToSchema for $type {}
    };
}

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_-]*$";
const VERSION: &str = "^[A-Za-z0-9][A-Za-z0-9_.+-]*$";

text!(TenantId, "The name of a tenant", NAME, MAX_NAME);
text!(ArtifactName, "The name of an artifact", NAME, MAX_NAME);
text!(JobName, "The name of a job", NAME, MAX_NAME);
text!(SavepointName, "The name of a savepoint of a job", NAME, MAX_NAME);
text!(OperatorName, "The name of a source, operator or sink", NAME, MAX_NAME);
text!(VersionName, "A version of an artifact, or a tag", VERSION, MAX_NAME);
text!(JobId, "A job that was submitted", "^[0-9a-f]{32}$", 32);
text!(KeyId, "A key, by the beginning of its SHA-256", "^[0-9a-f]{16}$", 16);
text!(TokenId, "A token, as it is shown", "^[0-9a-f]{16}$", 16);

impl PartialSchema for CheckpointId {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        number.description(Some("The number of a checkpoint of a job")).into()
    }
}

impl ToSchema for CheckpointId {}

impl PartialSchema for SlotId {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        number.description(Some("The number of a slot")).into()
    }
}

impl ToSchema for SlotId {}

impl PartialSchema for Role {
    fn schema() -> RefOr<Schema> {
        let words = [Self::Ingest, Self::Viewer, Self::Author, Self::Operator, Self::Admin];
        let words = words.map(Self::word);
        let role = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        role.description(Some("What a token may do. `ingest`: post records to sources, and nothing else; of the others each what those before it may")).into()
    }
}

impl ToSchema for Role {}

impl PartialSchema for Inspection {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let yes_or_no = || ObjectBuilder::new().schema_type(Type::Boolean);
        let list = || ArrayBuilder::new().items(text());
        let or_null = SchemaType::from_iter([Type::String, Type::Null]);
        let members: [(&str, Schema, &str); 11] = [
            ("contract", text().into(), "The contract that it was built for"),
            ("kind", text().into(), "`processor` or `keyed-processor`"),
            ("exports", list().into(), "The interfaces that it exports"),
            ("imports", list().into(), "The interfaces with functions that it imports"),
            ("snapshot", yes_or_no().into(), "Whether it says itself what its state is"),
            ("merge", yes_or_no().into(), "Whether two of its session windows can become one"),
            ("memory_not_saved_because", list().into(), "Empty if its memory can be saved"),
            ("languages", list().into(), "What it says it was written in"),
            ("processed_by", list().into(), "What it says has worked on it"),
            ("sdks", list().into(), "With which libraries for components it says it was made"),
            (
                "made_of",
                ObjectBuilder::new().schema_type(or_null).into(),
                "The digest of the core module that it was made of when that was uploaded",
            ),
        ];
        let about = ObjectBuilder::new().description(Some("What was found out about a component"));
        let build = |all: ObjectBuilder, (name, schema, description): (&str, Schema, &str)| {
            let schema = match schema {
                Schema::Object(mut object) => {
                    object.description = Some(description.to_owned());
                    Schema::Object(object)
                }
                Schema::Array(mut array) => {
                    array.description = Some(description.to_owned());
                    Schema::Array(array)
                }
                other => other,
            };
            all.property(name, schema).required(name)
        };
        members.into_iter().fold(about, build).into()
    }
}

impl ToSchema for Inspection {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::Routes;

    #[test]
    fn every_route_is_in_the_document_and_nothing_else() {
        let mut described = BTreeSet::new();
        for (path, item) in &mut document().clone().paths.paths {
            for (method, _) in operations(item) {
                described.insert((method.to_string(), path.clone()));
            }
        }
        let routes: BTreeSet<_> = Routes::all()
            .listed
            .into_iter()
            .map(|(method, path)| (method.to_string(), path.to_owned()))
            .collect();
        let missing: Vec<_> = routes.difference(&described).collect();
        assert!(
            missing.is_empty(),
            "routes that are not described: {missing:?}. Put #[utoipa::path(…)] on their handlers, \
             and the handlers into the list `paths` of http/openapi.rs"
        );
        let gone: Vec<_> = described.difference(&routes).collect();
        assert!(
            gone.is_empty(),
            "described, but no route: {gone:?}. Add them to Routes::all, or correct the method or \
             path that #[utoipa::path(…)] says"
        );
    }

    #[test]
    fn every_operation_says_what_it_does_and_what_it_is_given() {
        let mut names = BTreeSet::new();
        for (path, item) in &mut document().clone().paths.paths {
            for (method, operation) in operations(item) {
                let at = format!("{method} {path}");
                assert!(operation.summary.as_ref().is_some_and(|s| !s.is_empty()), "{at}");
                let name = operation.operation_id.clone().unwrap_or_default();
                assert!(names.insert(name.clone()), "{at}: operation_id `{name}` is taken");
                let given = operation.parameters.as_deref().unwrap_or_default();
                for variable in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                    let variable = variable.trim_end_matches('}');
                    assert!(
                        given.iter().any(|p| p.name == variable),
                        "{at}: say what `{variable}` is in PARAMETERS of http/openapi.rs"
                    );
                }
                for parameter in given {
                    let described = parameter.description.as_ref().is_some_and(|d| !d.is_empty());
                    assert!(described, "{at}: `{}` has no description", parameter.name);
                }
                let good = operation.responses.responses.keys().filter(|key| key.starts_with('2'));
                assert!(good.count() > 0, "{at}: no answer of success is described");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|value| walk(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let document = serde_json::to_value(document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut found = Vec::new();
        walk(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let target = document.pointer(reference.trim_start_matches('#'));
            assert!(target.is_some(), "{reference} leads nowhere");
        }
    }
}
