//! Turns the JSON of the configuration into a chunker.

use serde_path_to_error::{Path, Segment};

use crate::{Chunker, Diagnostic};

/// The JSON Schema of a chunker's configuration.
pub(crate) fn schema<C: Chunker>() -> String {
    schemars::schema_for!(C::Config).as_value().to_string()
}

/// Creates a chunker from the JSON text that the host passes.
pub(crate) fn configure<C: Chunker>(json: &str) -> Result<C, Vec<Diagnostic>> {
    let mut input = serde_json::Deserializer::from_str(json);
    let config = serde_path_to_error::deserialize(&mut input).map_err(|error| {
        let pointer = pointer(error.path());
        let problem = error.into_inner().to_string();
        // Omit the position: it refers to the host's JSON, not to the user's file.
        let message = problem.split(" at line ").next().unwrap_or_default();
        vec![Diagnostic::error("invalid-config", message).in_config(pointer)]
    })?;
    C::configure(config)
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        let step = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&step);
    }
    pointer
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{Chunk, ChunkError, Document, Info};

    #[derive(Debug, Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Config {
        level: u8,
        #[serde(default)]
        names: Vec<String>,
    }

    #[derive(Debug)]
    struct Probe;

    impl Chunker for Probe {
        const INFO: Info = Info { name: "probe", version: "1", summary: "", extensions: &[] };
        type Config = Config;

        fn configure(config: Config) -> Result<Self, Vec<Diagnostic>> {
            if config.level > 6 || config.names.len() > 2 {
                return Err(vec![Diagnostic::error("range", "too much").in_config("/level")]);
            }
            Ok(Self)
        }

        fn split(&self, _: &Document) -> Result<Vec<Chunk>, ChunkError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn an_error_points_at_the_key() {
        let cases = [
            (r#"{"level":"x"}"#, "/level", "invalid type: string \"x\", expected u8"),
            (r#"{"level":1,"names":["a",2]}"#, "/names/1", "invalid type: integer `2`, expected a string"),
            (
                r#"{"level":1,"other/key":2}"#,
                "/other~1key",
                "unknown field `other/key`, expected `level` or `names`",
            ),
            ("{}", "", "missing field `level`"),
            (r#"{"level":9}"#, "/level", "too much"),
        ];
        for (json, pointer, message) in cases {
            let problems = configure::<Probe>(json).expect_err(json);
            assert_eq!(problems.len(), 1, "{json}");
            assert_eq!(problems[0].pointer.as_deref(), Some(pointer), "{json}");
            assert_eq!(problems[0].message, message, "{json}");
        }
    }

    #[test]
    fn the_schema_names_every_key() {
        let schema: serde_json::Value = serde_json::from_str(&schema::<Probe>()).expect("JSON");
        assert!(schema["properties"]["level"].is_object());
        assert!(schema["properties"]["names"].is_object());
        assert_eq!(schema["additionalProperties"], false);
    }
}
