//! `${NAME}`, `${file:PATH}` and `$$` in the strings of the parsed file.

use std::borrow::Cow;
use std::path::Path;

/// Looks an environment variable up.
pub type Env = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Why a reference could not be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is written wrongly: wrong wherever it stands.
    Malformed { message: String, hint: String },
    /// What it names is not there: a problem only where it is used.
    Missing { message: String, hint: String },
}

/// Replaces the references of a text. A lone `$` is a dollar. What was put in is not read again.
pub(super) fn expand<'t>(text: &'t str, env: &Env, folder: &Path) -> Result<Cow<'t, str>, Vec<Fault>> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::new();
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(close) = after.find('}') else {
                faults.push(Fault::Malformed {
                    message: "`${` without its `}`".into(),
                    hint: "write `${NAME}`, `${file:PATH}`, or `$$` for a dollar".into(),
                });
                break;
            };
            match reference(&after[..close], env, folder) {
                Ok(value) => out.push_str(&value),
                Err(fault) => faults.push(fault),
            }
            rest = &after[close + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    if faults.is_empty() { Ok(Cow::Owned(out)) } else { Err(faults) }
}

fn reference(name: &str, env: &Env, folder: &Path) -> Result<String, Fault> {
    if let Some(path) = name.strip_prefix("file:") {
        return content(path, folder);
    }
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        return Err(Fault::Malformed {
            message: format!("`${{{name}}}` names no environment variable"),
            hint: "names are made of letters, digits and `_`; write `$$` for a dollar".into(),
        });
    }
    let missing = |what| Fault::Missing {
        message: format!("the environment variable `{name}` is {what}"),
        hint: format!("set it: `export {name}=…`"),
    };
    match env(name) {
        // CI systems hand over a secret that was never created as an empty variable.
        Some(value) if value.is_empty() => Err(missing("empty")),
        Some(value) => Ok(value),
        None => Err(missing("not set")),
    }
}

/// A file's text without its last line end, which editors and `echo` add.
fn content(path: &str, folder: &Path) -> Result<String, Fault> {
    let missing = |why: &str| Fault::Missing {
        message: format!("cannot read the file `{path}`: {why}"),
        hint: "the path is relative to the folder of the configuration file".into(),
    };
    let bytes = std::fs::read(folder.join(path)).map_err(|error| missing(&error.to_string()))?;
    let mut text = String::from_utf8(bytes).map_err(|_| missing("it is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".into()),
            "LOOP" => Some("${A}".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key.pem"), "line 1\nline 2\r\n").expect("written");
        for (text, expanded) in [
            ("plain", "plain"),
            ("${A}", "one"),
            ("<${A}-${A}>", "<one-one>"),
            ("$${A}", "${A}"),
            ("$$$${A}", "$${A}"),
            ("$$${A}", "$one"),
            ("${LOOP}", "${A}"),
            ("5$ a$b $", "5$ a$b $"),
            ("${file:key.pem}", "line 1\nline 2"),
        ] {
            assert_eq!(expand(text, &env, folder.path()).expect(text), expanded);
        }
    }

    #[test]
    fn faults_name_what_is_missing() {
        let messages = |text| {
            expand(text, &env, Path::new("/nowhere"))
                .expect_err(text)
                .into_iter()
                .map(|fault| match fault {
                    Fault::Malformed { message, .. } => format!("malformed: {message}"),
                    Fault::Missing { message, .. } => format!("missing: {message}"),
                })
                .collect::<Vec<_>>()
                .join("; ")
        };
        insta::assert_snapshot!(messages("${B} ${EMPTY}"), @"missing: the environment variable `B` is not set; missing: the environment variable `EMPTY` is empty");
        insta::assert_snapshot!(messages("${A"), @"malformed: `${` without its `}`");
        insta::assert_snapshot!(messages("${a-b}${}"), @"malformed: `${a-b}` names no environment variable; malformed: `${}` names no environment variable");
        assert!(messages("${file:no.pem}").starts_with("missing: cannot read the file `no.pem`"));
    }
}
