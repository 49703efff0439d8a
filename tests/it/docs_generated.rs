//! Reference pages that are made from the program: the command line, the API, the metrics and the schema of
//! `reposync.toml`. Each test fails when its page is out of date; `just docs` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::page::{Page, generated};
use crate::support::world::World;

const NOTE: &str = "<!-- Written by `just docs`; do not edit. -->";

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    listed
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The help of a command and of those below it.
fn document(world: &World, words: &[&str], page: &mut String) {
    let help = world.ok(&[words, &["--help"]].concat()).stdout;
    let mark = if words.len() > 1 { "###" } else { "##" };
    let title = [&["reposync"], words].concat().join(" ");
    write!(page, "\n{mark} `{title}`\n\n```text\n{}\n```\n", help.trim_end()).expect("to a string");
    for command in commands(&help) {
        document(world, &[words, &[&*command]].concat(), page);
    }
}

#[test]
fn the_command_line() {
    let world = World::new();
    let mut page = format!(
        "# The command line\n\n{NOTE}\n\nThe help of every command, as `reposync COMMAND --help` prints it; \
         `reposync man FOLDER` writes it as manual pages.\n"
    );
    document(&world, &[], &mut page);
    assert!(page.contains("## `reposync apply`") && page.contains("### `reposync plugin new`"), "{page}");
    generated("docs/reference/cli.md", &page);
}

#[test]
fn the_schema_of_the_file() {
    generated("docs/reference/reposync.schema.json", &World::new().ok(&["schema"]).stdout);
}

/// The type of a value, as a reader of JSON calls it.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().expect("a name");
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for alternatives in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema[alternatives].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    let name = |word: &str| match word {
        "array" if schema["items"].is_object() => format!("list of {}", kind(&schema["items"])),
        word => word.to_owned(),
    };
    match &schema["type"] {
        Value::String(word) => name(word),
        Value::Array(words) => {
            words.iter().filter_map(Value::as_str).map(name).collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    }
}

/// One line that cannot end a cell of a table.
fn cell(text: &Value) -> String {
    text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn description(schema: &Value) -> String {
    let own = cell(&schema["description"]);
    let inner = ["oneOf", "anyOf"].iter().find_map(|key| schema[key].as_array());
    match inner {
        Some(parts) if own.is_empty() => parts
            .iter()
            .map(|part| cell(&part["description"]))
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        _ => own,
    }
}

fn operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    write!(page, "\n### `{} {path}`\n\n{}\n", method.to_uppercase(), cell(&operation["summary"]))
        .expect("to a string");
    let mut rows = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let needed = if parameter["required"] == true { ", required" } else { "" };
        let place = parameter["in"].as_str().expect("a place");
        rows.push(format!(
            "| `{}` | {place}{needed} | {} | {} |",
            parameter["name"].as_str().expect("a name"),
            kind(&parameter["schema"]),
            cell(&parameter["description"]),
        ));
    }
    if !rows.is_empty() {
        write!(page, "\n| parameter | place | type | meaning |\n|---|---|---|---|\n{}\n", rows.join("\n"))
            .expect("to a string");
    }
    let content = |value: &Value| {
        let (media, content) = value["content"].as_object()?.iter().next()?;
        Some(if media == "application/json" { kind(&content["schema"]) } else { format!("`{media}`") })
    };
    if let Some(body) = content(&operation["requestBody"]) {
        write!(page, "\nBody: {body}.\n").expect("to a string");
    }
    let mut answers = Vec::new();
    for (status, answer) in operation["responses"].as_object().expect("answers") {
        let text = [content(answer), Some(cell(&answer["description"])).filter(|text| !text.is_empty())];
        let text: Vec<String> = text.into_iter().flatten().collect();
        answers.push(format!("{status}: {}", text.join(", ")));
    }
    write!(page, "\nAnswers: {}.\n", answers.join("; ")).expect("to a string");
}

#[test]
fn the_api() {
    let (_local, daemon) = Daemon::of_local();
    let document = daemon.get("/openapi.json").is(200).json();
    let mut page = format!(
        "# The HTTP API\n\n{NOTE}\n\nWhat `GET /openapi.json` of the daemon describes. \
         [The daemon](../daemon.md#the-api) explains authorization, scopes and limits.\n"
    );
    let mut groups: BTreeMap<&str, Vec<(&str, &str, &Value)>> = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let tag = operation["tags"][0].as_str().unwrap_or("other");
            groups.entry(tag).or_default().push((method, path, operation));
        }
    }
    for (tag, operations) in groups {
        write!(page, "\n## Routes: {tag}\n").expect("to a string");
        for (method, path, found) in operations {
            operation(&mut page, method, path, found);
        }
    }
    page.push_str("\n## Shapes\n");
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        write!(page, "\n### {name}\n\n{}\n", cell(&schema["description"])).expect("to a string");
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(fields) = schema["properties"].as_object() {
            page.push_str("\n| field | type | meaning |\n|---|---|---|\n");
            for (field, value) in fields {
                let needed = if required.contains(&field.as_str()) { ", always there" } else { "" };
                writeln!(page, "| `{field}` | {}{needed} | {} |", kind(value), description(value))
                    .expect("to a string");
            }
        } else {
            write!(page, "\n{}\n", kind(schema)).expect("to a string");
        }
    }
    generated("docs/reference/api.md", &page);
}

#[test]
fn the_metrics() {
    let (_local, mut daemon) = Daemon::of_local();
    // The last one that a run sets.
    let all = "reposync_withheld{";
    daemon.until("the figures of the run", |daemon| daemon.get("/metrics").body.contains(all));
    let text = daemon.get("/metrics").is(200).body;
    let mut page = format!(
        "# Metrics\n\n{NOTE}\n\nThe families of `GET /metrics`. [The daemon](../daemon.md#metrics) explains how to use \
         them, and the series that appear with a stage's first wait or cost.\n\n| series | type | labels | meaning |\n|---|---|---|---|\n"
    );
    let mut rows = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = line.split_once(' ').expect("a name and a text");
        let of_type = format!("# TYPE {name} ");
        let sort = text.lines().find_map(|line| line.strip_prefix(&of_type)).expect("a type");
        let suffix = if sort == "counter" { "_total" } else { "" };
        let begin = [format!("{name}{suffix}{{"), format!("{name}_bucket{{")];
        let labels = text.lines().find_map(|line| {
            let rest = begin.iter().find_map(|begin| line.strip_prefix(begin.as_str()))?;
            let labels = rest.split_once('}')?.0;
            let names = labels.split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            Some(
                names
                    .filter(|name| *name != "le")
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        });
        writeln!(
            page,
            "| `{name}{suffix}` | {sort} | {} | {} |",
            labels.unwrap_or_default(),
            help.replace('|', "\\|")
        )
        .expect("to a string");
        rows += 1;
    }
    assert!(rows > 20, "{text}");
    generated("docs/reference/metrics.md", &page);
    // The migration page lists the errors that are counted from the start.
    let migration = Page::read("docs/migration.md").text;
    let labels = regex::Regex::new(r#"errors_total\{service="(\w+)",type="(\w+)"\}"#).expect("an expression");
    let errors: Vec<(&str, &str)> =
        labels.captures_iter(&text).map(|found| found.extract::<2>().1.into()).collect();
    assert!(errors.len() > 10, "{errors:?}");
    for (service, kind) in errors {
        let row = migration.lines().find(|line| line.starts_with(&format!("| `{service}`")));
        assert!(
            row.is_some_and(|row| row.contains(&format!("`{kind}`"))),
            "docs/migration.md: {service} {kind}"
        );
    }
}

/// What is known of the value of a field, by its example.
fn shape(value: &Value, indent: usize, name: &str, text: &mut String) {
    let begin = format!("{:indent$}{name}", "");
    let mut line = |kind: &str| writeln!(text, "{begin:<34} {kind}").expect("to a string");
    match value {
        Value::Null => line("null"),
        Value::Bool(_) => line("boolean"),
        Value::Number(_) => line("number"),
        Value::String(_) => line("text"),
        Value::Array(items) => match items.first() {
            Some(item @ Value::Object(_)) => shape(item, indent, &format!("{name}[]"), text),
            Some(_) => line("list of texts or numbers"),
            None => line("list"),
        },
        Value::Object(fields) => {
            line("");
            for (field, value) in fields {
                shape(value, indent + 2, field, text);
            }
        }
    }
}

#[test]
fn the_output_as_json() {
    let local = crate::support::local::Local::new();
    let mut page = format!(
        "# Output as JSON\n\n{NOTE}\n\nWith `--json` a command prints one JSON document to standard output, and everything for \
         people to standard error. Later versions add fields; they do not rename or remove them. Ignore fields that you do \
         not know. Below are the fields of each document, taken from an example: `null` stands for a value that the \
         example lacks, `[]` for a list of objects.\n\nLook at the exit code first: 0 done, 1 failed, 2 invalid, 3 partial, \
         130 interrupted; [the command line](cli.md#reposync) has the whole table. The fields of `metadata` are explained in \
         [consumers](../consumers.md#read-the-store-directly). `reposync schema` prints the [JSON Schema](reposync.schema.json) \
         of `reposync.toml`.\n"
    );
    let commands: [&[&str]; 9] = [
        &["plan", "--json"],
        &["apply", "--json"],
        &["status", "--json"],
        &["history", "--json"],
        &["audit", "--json"],
        &["query", "where do I start?", "--json"],
        &["explain", "README.md", "--json"],
        &["verify", "--json"],
        &["validate", "--format", "json"],
    ];
    for command in commands {
        let document = local.world.ok(command).json();
        let words = command.join(" ").replace("where do I start?", "WORDS").replace("README.md", "PATH");
        let (mut text, list) = (String::new(), document.is_array());
        let fields = if list { &document[0] } else { &document };
        for (field, value) in fields.as_object().expect("an object") {
            shape(value, 0, field, &mut text);
        }
        let what = if list { "A list of objects:\n\n" } else { "" };
        let text: Vec<&str> = text.lines().map(str::trim_end).collect();
        write!(page, "\n## `{words}`\n\n{what}```text\n{}\n```\n", text.join("\n")).expect("to a string");
    }
    generated("docs/reference/json.md", &page);
}
