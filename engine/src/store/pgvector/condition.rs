//! Filters of a query as SQL conditions.

use std::cmp::Ordering::{Equal, Greater, Less};

use crate::postgres::{Failure, Transaction};
use crate::store::filter::{Node, Test};
use crate::store::{Facet, Filter, Search, SearchScope, Selector};

use super::database::Database;
use super::names::Part;
use super::sql::Sql;

/// Up to this number of chunks of the files that pass, these are compared one by one.
const COMPARED: i64 = 2000;

/// The files of a namespace that a search considers.
pub(super) enum Files {
    /// All.
    All,
    /// Those of these projects; others share the namespace.
    OfProjects(Vec<String>),
    /// Those that pass filters by repository and path.
    Numbers(Vec<i64>),
}

/// What a search considers of a namespace.
pub(super) struct Considered {
    pub(super) files: Files,
    /// Number of chunks of these files; `None`: most of the namespace.
    chunks: Option<i64>,
}

impl Considered {
    /// The files of the scopes in a namespace.
    pub(super) async fn new(
        db: &Database,
        transaction: &Transaction,
        part: &Part,
        projects: Vec<String>,
        selector: &Selector,
    ) -> Result<Self, Failure> {
        let (table, number) = (db.names.files(), part.number);
        if selector.all_files() {
            let sql = format!(
                "SELECT EXISTS (SELECT FROM {table} WHERE namespace = {number} AND project <> ALL($1))"
            );
            let shared = transaction.row(&sql, &[&projects]).await?.is_some_and(|row| row.get(0));
            let files = if shared { Files::OfProjects(projects) } else { Files::All };
            return Ok(Self { files, chunks: None });
        }
        let sql = format!(
            "SELECT number, repository, path, chunks FROM {table}
             WHERE namespace = {number} AND project = ANY($1)"
        );
        let (mut numbers, mut chunks) = (Vec::new(), 0);
        for row in transaction.rows(&sql, &[&projects]).await? {
            if selector.passes_file(row.get(1), row.get(2)) {
                numbers.push(row.get(0));
                chunks += row.get::<_, i64>(3);
            }
        }
        Ok(Self { files: Files::Numbers(numbers), chunks: Some(chunks) })
    }

    pub(super) fn all() -> Self {
        Self { files: Files::All, chunks: None }
    }

    /// True if so few chunks pass that comparing all of them beats the index.
    pub(super) fn is_small(&self) -> bool {
        self.chunks.is_some_and(|chunks| chunks <= COMPARED)
    }

    /// True if some files are left out.
    pub(super) fn is_partial(&self) -> bool {
        !matches!(self.files, Files::All)
    }

    /// The condition on a column with the number of a file, beginning with `AND`; empty if there is none.
    pub(super) fn condition(&self, db: &Database, part: &Part, sql: &mut Sql, column: &str) -> String {
        match &self.files {
            Files::All => String::new(),
            Files::OfProjects(projects) => {
                let projects = sql.arg(projects.clone());
                let (table, number) = (db.names.files(), part.number);
                format!(
                    " AND {column} IN (SELECT number FROM {table}
                      WHERE namespace = {number} AND project = ANY({projects}))"
                )
            }
            Files::Numbers(numbers) => format!(" AND {column} = ANY({})", sql.arg(numbers.clone())),
        }
    }
}

/// The projects of a namespace that are searched.
pub(super) fn projects_of(search: &Search, namespace: &str) -> Vec<String> {
    let of = |scope: &&SearchScope| scope.namespace == namespace;
    search.scopes.iter().filter(of).map(|scope| scope.project.clone()).collect()
}

/// True if a search has conditions on single chunks.
pub(super) fn has_chunk_conditions(selector: Option<&Selector>, filter: &Filter) -> bool {
    selector.is_some_and(|selector| !selector.only_files()) || !filter.is_empty()
}

/// The conditions on the columns of a record `r`, beginning with `AND`; empty if there are none.
pub(super) fn chunk_conditions(sql: &mut Sql, selector: Option<&Selector>, filter: &Filter) -> String {
    let mut text = String::new();
    if let Some(selector) = selector {
        let (languages, kinds) = selector.languages_and_kinds();
        text.push_str(&facet(sql, "r.language", languages));
        text.push_str(&facet(sql, "r.kind", kinds));
    }
    if !filter.is_empty() {
        let condition = node(sql, &filter.0);
        // A value with NUL cannot be read as `jsonb`.
        text.push_str(" AND CASE WHEN strpos(r.facts::text, '\\u0000') = 0 THEN ");
        text.push_str(&condition);
        text.push_str(" ELSE false END");
    }
    text
}

fn facet(sql: &mut Sql, column: &str, facet: &Facet) -> String {
    let lower = |values: &[String]| values.iter().map(|value| value.to_ascii_lowercase()).collect::<Vec<_>>();
    let mut text = String::new();
    if !facet.include.is_empty() {
        text.push_str(&format!(" AND {column} = ANY({})", sql.arg(lower(&facet.include))));
    }
    if !facet.exclude.is_empty() {
        text.push_str(&format!(" AND {column} <> ALL({})", sql.arg(lower(&facet.exclude))));
    }
    text
}

fn node(sql: &mut Sql, of: &Node) -> String {
    let mut joined = |nodes: &[Node], operator: &str, empty: &str| {
        let parts: Vec<String> = nodes.iter().map(|one| node(sql, one)).collect();
        if parts.is_empty() { empty.to_owned() } else { format!("({})", parts.join(operator)) }
    };
    match of {
        Node::All(nodes) => joined(nodes, " AND ", "true"),
        Node::Any(nodes) => joined(nodes, " OR ", "false"),
        Node::Test { key, test: of } => {
            let value = if key == "text" {
                "to_jsonb(r.text)".to_owned()
            } else {
                format!("(r.facts -> {})::jsonb", sql.arg(key.clone()))
            };
            test(sql, &value, of)
        }
    }
}

/// As [`Filter::matches`] says: a list equals a value if any of its entries does, an absent field equals nothing.
fn test(sql: &mut Sql, value: &str, of: &Test) -> String {
    let mut any_of = |values: &[serde_json::Value]| {
        let values = sql.arg(values.iter().map(ToString::to_string).collect::<Vec<String>>());
        format!(
            "coalesce(CASE jsonb_typeof({value})
                 WHEN 'array' THEN EXISTS (
                     SELECT FROM jsonb_array_elements({value}) AS entry WHERE entry = ANY({values}::jsonb[]))
                 ELSE {value} = ANY({values}::jsonb[]) END, false)"
        )
    };
    match of {
        Test::In(values) => any_of(values),
        Test::NotIn(values) => format!("NOT {}", any_of(values)),
        Test::Exists(true) => format!("{value} IS NOT NULL"),
        Test::Exists(false) => format!("{value} IS NULL"),
        Test::Compare { holds, number } => {
            let operator = match (holds.contains(&Less), holds.contains(&Equal), holds.contains(&Greater)) {
                (true, false, _) => "<",
                (true, true, _) => "<=",
                (false, true, _) => ">=",
                (false, false, _) => ">",
            };
            let number = sql.arg(*number);
            format!(
                "coalesce(CASE WHEN jsonb_typeof({value}) = 'number'
                     THEN ({value})::double precision {operator} {number} END, false)"
            )
        }
    }
}
