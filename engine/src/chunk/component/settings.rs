//! Settings of `kind = "wasm"`.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::location::{Address, Location};
use crate::model::{ByteSize, HumanDuration};
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// Maximum linear memory: what 32-bit WASM can address.
const MEMORY_MOST: u64 = 4 << 30;

/// What to do with a file that a component cannot chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Pass the file to the next matching chunker of the pipeline.
    Next,
    /// Count the file as failed.
    Fail,
}

impl OnError {
    /// The value in `reposync.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Fail => "fail",
        }
    }
}

/// `kind = "wasm"`: a chunker component.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WasmSettings {
    /// Path of the component, relative to `reposync.toml`; or its address: `https://…`, which needs
    /// `sha256`, or `oci://HOST/NAME:TAG`.
    pub component: Location,
    /// Expected SHA-256 of the component in hex; any other component is refused.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Globs of the files this stage takes. Default: the extensions that the component declares.
    #[serde(rename = "match", default)]
    pub patterns: Option<Vec<String>>,
    /// Configuration of the component, passed to it as JSON.
    #[serde(default, serialize_with = "hidden")]
    pub config: Map<String, Value>,
    /// `config` for display: references are shown as written in the file, not resolved.
    #[serde(skip)]
    pub shown_config: Map<String, Value>,
    /// What to do with a file that the component cannot chunk: `next` passes it to the next chunker
    /// of the pipeline, `fail` counts it as failed. Default: `next` for a document that the
    /// component rejects as malformed, `fail` for everything else.
    #[serde(default)]
    pub on_error: Option<OnError>,
    /// Maximum linear memory.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// Maximum wall time per document, plus 10 s per MiB of the document.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
    /// Maximum number of bytes that a component may return for a document.
    #[serde(default = "default_output")]
    pub output: ByteSize,
}

impl WasmSettings {
    /// `config` for display. Settings that were not read from a file have only one form.
    pub fn shown_config(&self) -> &Map<String, Value> {
        if self.shown_config.is_empty() { &self.config } else { &self.shown_config }
    }

    /// Default settings for a component.
    pub fn of(component: &std::path::Path) -> Self {
        Self {
            component: Location::File(component.to_owned()),
            sha256: None,
            patterns: None,
            config: Map::new(),
            on_error: None,
            shown_config: Map::new(),
            memory: default_memory(),
            deadline: default_deadline(),
            output: default_output(),
        }
    }
}

impl StageConfig for WasmSettings {
    const KIND: &'static str = "wasm";

    // `sha256` only restricts which binary is accepted; the binary itself is part of the recipe.
    edit_costs! {
        index: component, patterns, config, shown_config, on_error;
        limits: sha256, memory, deadline, output;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.globs("match");
        check.not_empty("component", self.component.is_empty());
        match &mut self.component {
            Location::File(path) => *path = check.absolute(path),
            Location::Remote(address) => {
                if let Err(objection) = Address::parse(address)
                    && check.sound(&["component"])
                {
                    check.flag("component", objection.message, objection.hint);
                }
            }
        }
        if let Some(digest) = &mut self.sha256 {
            digest.make_ascii_lowercase();
            if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let hint = "64 hexadecimal digits, as `sha256sum FILE` or `reposync plugin inspect FILE` prints them";
                check.flag("sha256", "not a SHA-256 digest", hint);
            }
        }
        check.positive("memory", &self.memory.0);
        check.positive("output", &self.output.0);
        check.positive("deadline", &self.deadline.0.as_millis());
        if self.memory.0 > MEMORY_MOST {
            check.flag("memory", "more than a component can address", "at most \"4 GiB\"");
        }
        check.json("config");
        self.shown_config.clone_from(&self.config);
        check.as_written("config", &mut self.shown_config);
    }

    fn adjust_shown(&self, shown: &mut Map<String, Value>) {
        shown.insert("config".into(), self.shown_config().clone().into());
    }

    fn check_files(&self, check: &mut Checker<'_>) {
        if let Location::File(path) = &self.component
            && !path.is_file()
        {
            check.flag(
                "component",
                format!("no such file: `{}`", path.display()),
                "build it with `reposync plugin build` in the plugin's folder, or correct the path (relative to this file)",
            );
        }
    }
}

/// Shows references in `config` unresolved, because the values may be secrets.
impl fmt::Debug for WasmSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            component,
            sha256,
            patterns,
            config: _,
            shown_config: _,
            on_error,
            memory,
            deadline,
            output,
        } = self;
        f.debug_struct("WasmSettings")
            .field("component", component)
            .field("sha256", sha256)
            .field("patterns", patterns)
            .field("config", self.shown_config())
            .field("on_error", on_error)
            .field("memory", memory)
            .field("deadline", deadline)
            .field("output", output)
            .finish()
    }
}

/// References in `config` are resolved, and may be secrets: see [`WasmSettings::shown_config`].
fn hidden<S: Serializer>(_: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_map(Some(0))?.end()
}

fn default_memory() -> ByteSize {
    ByteSize::mib(256)
}

fn default_deadline() -> HumanDuration {
    HumanDuration(Duration::from_secs(2))
}

fn default_output() -> ByteSize {
    ByteSize::mib(32)
}
