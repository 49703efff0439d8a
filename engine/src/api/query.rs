//! `POST /query`.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::audit::Subject;
use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::Body;
use crate::app::Scope;
use crate::search::{Answer, Mode, Request, Selection};

/// Matches of a query, and chunks around each.
const MATCHES: usize = 1000;
const CONTEXT: usize = 50;
/// Queries in a call.
const QUERIES: usize = 20;

/// One text, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    fn of(values: Vec<String>) -> Option<Self> {
        (!values.is_empty()).then_some(Self::Many(values))
    }

    fn list(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// A question.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryRequest {
    /// In words; filters such as `lang:rust` may stand among them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    query: String,
    /// Several questions, 1 to 20, instead of `query`; answered in `answers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    queries: Vec<String>,
    /// The project to look in.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// Projects to look in, ranked together, instead of `project`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    projects: Vec<String>,
    /// How many matches, 1 to 1000; 5 when left out.
    #[schema(minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<usize>,
    /// How many of the best matches are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    /// Maximum number of matches of one file, 2 when left out; 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_file: Option<usize>,
    /// `hybrid` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    mode: Option<Mode>,
    /// A symbol whose definitions come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<String>,
    /// Chunks before and after each match, 0 to 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<usize>,
    /// Whether the whole symbol is given that a match is part of.
    #[serde(default)]
    expand: bool,
    /// Whether the terms of each score are given.
    #[serde(default)]
    explain: bool,
    /// Repositories: names or globs; `!` leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    repo: Option<OneOrMany>,
    /// Globs of paths; `!` leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<OneOrMany>,
    /// Languages; `!` leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    lang: Option<OneOrMany>,
    /// Kinds of chunks; `!` leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<OneOrMany>,
    /// On the metadata, in Pinecone's language.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Map<String, Value>>,
    /// A stage that only that project has.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
}

impl Subject for QueryRequest {
    fn project(&self) -> Option<&str> {
        self.project.as_deref().or_else(|| self.projects.first().map(String::as_str))
    }
}

/// Matches, best first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum QueryBody {
    /// Of one query.
    One(Answer),
    /// Of several.
    Many {
        /// In the order of `queries`.
        answers: Vec<Answer>,
    },
}

/// Search what projects have indexed.
#[utoipa::path(post, path = "/query", tag = "operations", request_body = QueryRequest,
    responses((status = 200, body = QueryBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 422, description = "a filter is not understood", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn query(client: Client, Body(body): Body<QueryRequest>) -> ApiResult<Json<QueryBody>> {
    let requests = body.requests()?;
    let names = &body.projects;
    if !names.is_empty() && body.project.is_some() {
        return Err(ApiError::bad_request("give either `project` or `projects`"));
    }
    let scope = Scope { project: body.project.clone(), stage: body.stage.clone() };
    let mut answers = Vec::with_capacity(requests.len());
    for request in &requests {
        answers.push(client.handle.app().query(&scope, names, request).await?);
    }
    let one = if body.queries.is_empty() { answers.pop() } else { None };
    Ok(Json(match one {
        Some(answer) => QueryBody::One(answer),
        None => QueryBody::Many { answers },
    }))
}

impl QueryRequest {
    /// The body that asks for a search over these projects.
    pub(crate) fn of(request: &Request, projects: Vec<String>) -> Self {
        let facet = |facet: &crate::search::Facet| {
            let excluded = facet.exclude.iter().map(|value| format!("!{value}"));
            OneOrMany::of(facet.include.iter().cloned().chain(excluded).collect())
        };
        let filter = match &request.filter {
            Some(Value::Object(filter)) => Some(filter.clone()),
            _ => None,
        };
        Self {
            query: request.text.clone(),
            queries: Vec::new(),
            project: None,
            projects,
            top_k: Some(request.top_k),
            offset: Some(request.offset),
            per_file: Some(request.per_file),
            mode: Some(request.mode),
            symbol: request.symbol.clone(),
            context: Some(request.context),
            expand: request.expand,
            explain: request.explain,
            repo: facet(&request.selection.repositories),
            path: facet(&request.selection.paths),
            lang: facet(&request.selection.languages),
            kind: facet(&request.selection.kinds),
            filter,
            stage: None,
        }
    }

    /// The searches that it asks for.
    fn requests(&self) -> ApiResult<Vec<Request>> {
        let bad = |message: String| Err(ApiError::bad_request(message));
        let texts: Vec<&String> = match (self.query.trim(), self.queries.as_slice()) {
            (_, []) => vec![&self.query],
            ("", several) if several.len() <= QUERIES => several.iter().collect(),
            ("", _) => return bad(format!("`queries` has 1 to {QUERIES} entries")),
            _ => return bad("give either `query` or `queries`".to_owned()),
        };
        if self.symbol.is_none() && texts.iter().any(|text| text.trim().is_empty()) {
            return bad("`query` is empty".to_owned());
        }
        let top_k = self.top_k.unwrap_or(5);
        if !(1..=MATCHES).contains(&top_k) {
            return bad(format!("`top_k` is 1 to {MATCHES}"));
        }
        let (offset, context) = (self.offset.unwrap_or(0), self.context.unwrap_or(0));
        if offset > MATCHES || context > CONTEXT {
            return bad(format!("`offset` is at most {MATCHES}, `context` at most {CONTEXT}"));
        }
        let mut selection = Selection::default();
        for (facet, values) in [
            (&mut selection.repositories, &self.repo),
            (&mut selection.paths, &self.path),
            (&mut selection.languages, &self.lang),
            (&mut selection.kinds, &self.kind),
        ] {
            for value in values.iter().flat_map(OneOrMany::list) {
                facet.add(value);
            }
        }
        let filter = self.filter.clone().filter(|filter| !filter.is_empty()).map(Value::Object);
        let request = |text: &String| Request {
            top_k,
            offset,
            per_file: self.per_file.unwrap_or(2),
            mode: self.mode.unwrap_or_default(),
            symbol: self.symbol.clone(),
            context,
            expand: self.expand,
            explain: self.explain,
            selection: selection.clone(),
            filter: filter.clone(),
            ..Request::new(text.clone())
        };
        Ok(texts.into_iter().map(request).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_way_to_the_daemon() {
        let mut request = Request::new("retry");
        request.selection.paths.add("!tests/");
        request.selection.languages.add("rust");
        (request.top_k, request.offset, request.context) = (7, 3, 1);
        (request.mode, request.expand) = (Mode::Keyword, true);
        let sent = serde_json::to_value(QueryRequest::of(&request, vec!["p".into()])).expect("JSON");
        let body: QueryRequest = serde_json::from_value(sent).expect("understood");
        let Ok(received) = body.requests() else { panic!("refused") };
        assert_eq!(format!("{:?}", received[0]), format!("{request:?}"));
        assert_eq!(body.projects, ["p"]);
    }
}
