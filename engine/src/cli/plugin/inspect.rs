//! `plugin inspect`: prints a component's description, its file's properties, and its build record.

use anyhow::Context as _;

use super::args::InspectArgs;
use super::metadata::Metadata;
use super::record::Record;
use super::workbench::{folders, settings, size};
use crate::chunk::component::{ComponentHost, ComponentInfo};
use crate::cli::error::CommandResult;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, escape};

/// Runs the command. Blocks.
pub(super) fn run(out: &Output, args: &InspectArgs) -> CommandResult {
    // Describes it without configuring it, since it may not accept an empty configuration.
    let host = ComponentHost::new(&folders())?;
    let info = host.describe("plugin", &settings(&args.component, "{}")?)?;
    // Only components from JavaScript and Python have a record; see `record`.
    let bytes = std::fs::read(&args.component).unwrap_or_default();
    let (record, metadata) = (Record::read(&bytes), Metadata::read(&bytes));
    if args.json {
        let mut shown = serde_json::to_value(&info).context("failed to show the component")?;
        if let Some(record) = record {
            shown["build"] = serde_json::to_value(record).context("failed to show the build")?;
        }
        shown["metadata"] = serde_json::to_value(metadata).context("failed to show the metadata")?;
        out.json(&shown)?;
    } else {
        out.data(&shown(&info, &metadata, record.as_ref()))?;
    }
    Ok(Exit::Done)
}

fn shown(info: &ComponentInfo, metadata: &Metadata, record: Option<&Record>) -> String {
    let list = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    let mut shown = format!("{}\n{}\n\n", info.label(), escape(&info.summary));
    for (label, value) in [
        ("sha256", info.sha256.clone()),
        ("size", size(info.bytes)),
        ("offsets", info.offset_unit.name().to_owned()),
        ("extensions", list(&info.extensions)),
        ("imports", list(&info.imports)),
    ] {
        shown.push_str(&format!("{label:<12}{}\n", escape(&value)));
    }
    for (label, value) in [("licence", &metadata.licenses), ("sources", &metadata.revision)] {
        if let Some(value) = value {
            shown.push_str(&format!("{label:<12}{}\n", escape(value)));
        }
    }
    if let Some(record) = record {
        let build = format!("{}, sources {}", record.tools.join(", "), record.digest);
        shown.push_str(&format!("{:<12}{}\n", "built by", escape(&build)));
    }
    shown.push_str(&settings_of(info));
    shown
}

/// The configuration keys that it accepts.
fn settings_of(info: &ComponentInfo) -> String {
    let Some(schema) = &info.config_schema else {
        return "config      none\n".to_owned();
    };
    let Some(properties) = schema.get("properties").and_then(serde_json::Value::as_object) else {
        return "config      any\n".to_owned();
    };
    let required: Vec<_> =
        schema.get("required").and_then(serde_json::Value::as_array).into_iter().flatten().collect();
    let mut shown = "\nconfig\n".to_owned();
    for (key, property) in properties {
        let text = |name: &str| {
            property.get(name).map(|value| match value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let mut line = format!("  {key}");
        if let Some(kind) = text("type") {
            line.push_str(&format!(" ({kind}"));
            if let Some(default) = text("default") {
                line.push_str(&format!(", default {default}"));
            }
            line.push(')');
        }
        if required.iter().any(|name| name.as_str() == Some(key)) {
            line.push_str(", required");
        }
        shown.push_str(&format!("{}\n", escape(&line)));
        if let Some(description) = text("description") {
            shown.push_str(&format!("      {}\n", escape(&description)));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::component::OffsetUnit;

    #[test]
    fn a_component_introduces_itself() {
        let info = ComponentInfo {
            name: "changelog".into(),
            version: "0.2.0".into(),
            summary: "Cuts changelogs by release.".into(),
            offset_unit: OffsetUnit::Utf8Bytes,
            extensions: vec![".md".into()],
            config_schema: Some(serde_json::json!({
                "type": "object",
                "required": ["owner"],
                "properties": {
                    "level": { "type": "integer", "default": 2, "description": "Level of the headings." },
                    "owner": { "type": "string" },
                },
            })),
            imports: vec!["reposync:chunker/log@1.0.0".into()],
            sha256: "00ff".into(),
            bytes: 99_635,
        };
        let metadata = Metadata {
            licenses: Some("MIT".into()),
            revision: Some("sha256:bb22".into()),
            ..Metadata::default()
        };
        let record = Record { digest: "aa11".into(), tools: vec!["jco 1.35.0".into()] };
        insta::assert_snapshot!(shown(&info, &metadata, Some(&record)), @"
        changelog 0.2.0
        Cuts changelogs by release.

        sha256      00ff
        size        97.3 KiB
        offsets     utf8-bytes
        extensions  .md
        imports     reposync:chunker/log@1.0.0
        licence     MIT
        sources     sha256:bb22
        built by    jco 1.35.0, sources aa11

        config
          level (integer, default 2)
              Level of the headings.
          owner (string), required
        ");
    }
}
