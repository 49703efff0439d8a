//! Replaces `${NAME}`, `${file:PATH}` and `$$` in strings of the parsed file.

use std::borrow::Cow;

use super::surroundings::Surroundings;

/// Why a reference was not replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SubstitutionFault {
    /// The syntax is wrong, which is always a problem.
    Malformed { message: String, hint: String },
    /// The variable or file is missing, which is a problem only if the value is used.
    Missing { message: String, hint: String },
    /// References are not to be resolved.
    Left,
}

/// A text with its references replaced.
#[derive(Debug)]
pub(super) struct Expanded<'t> {
    pub(super) text: Cow<'t, str>,
    /// The values that were inserted.
    pub(super) values: Vec<String>,
}

/// Replaces the references in a text. A `$` that starts none stays. Inserted values are not
/// expanded again.
pub(super) fn expand<'t>(
    text: &'t str,
    around: Surroundings<'_>,
) -> Result<Expanded<'t>, Vec<SubstitutionFault>> {
    if !text.contains('$') {
        return Ok(Expanded { text: Cow::Borrowed(text), values: Vec::new() });
    }
    let mut out = String::new();
    let mut values = Vec::new();
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
                faults.push(SubstitutionFault::Malformed {
                    message: "`${` without a closing `}`".into(),
                    hint: "write `${NAME}`, `${file:PATH}`, or `$$` for a dollar".into(),
                });
                break;
            };
            match reference(&after[..close], around) {
                Ok(value) => {
                    out.push_str(&value);
                    values.push(value);
                }
                Err(fault) => faults.push(fault),
            }
            rest = &after[close + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    if faults.is_empty() { Ok(Expanded { text: Cow::Owned(out), values }) } else { Err(faults) }
}

fn reference(name: &str, around: Surroundings<'_>) -> Result<String, SubstitutionFault> {
    if let Some(path) = name.strip_prefix("file:") {
        return if around.resolve { content(path, around) } else { Err(SubstitutionFault::Left) };
    }
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        return Err(SubstitutionFault::Malformed {
            message: format!("`${{{name}}}` is not a valid environment variable name"),
            hint: "names are made of letters, digits and `_`; write `$$` for a dollar".into(),
        });
    }
    if !around.resolve {
        return Err(SubstitutionFault::Left);
    }
    let missing = |what| SubstitutionFault::Missing {
        message: format!("the environment variable `{name}` is {what}"),
        hint: format!("set it: `export {name}=…`"),
    };
    match (around.env)(name) {
        // CI systems pass secrets that do not exist as empty variables.
        Some(value) if value.is_empty() => Err(missing("empty")),
        Some(value) => Ok(value),
        None => Err(missing("not set")),
    }
}

/// A file's text without a byte order mark and without the final line end, which editors and `echo`
/// add.
fn content(path: &str, around: Surroundings<'_>) -> Result<String, SubstitutionFault> {
    let missing = |(why, hint): (String, String)| SubstitutionFault::Missing {
        message: format!("cannot read the file `{path}`: {why}"),
        hint,
    };
    let bytes = around.secrets.read(path).map_err(missing)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| missing(("it is not UTF-8 text".into(), "save it as UTF-8, not as UTF-16".into())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::secret_files::SecretFolders;
    use super::super::surroundings::Found;
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".into()),
            "LOOP" => Some("${A}".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn expanded(text: &str, folder: &Path, resolve: bool) -> Result<String, Vec<SubstitutionFault>> {
        let secrets = SecretFolders::new(folder, &[], &env);
        let found = Found::default();
        let around =
            Surroundings { env: &env, folder, secrets: &secrets, resolve, strict: false, found: &found };
        expand(text, around).map(|expanded| expanded.text.into_owned())
    }

    #[test]
    fn references_are_replaced_once() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key.pem"), "\u{feff}line 1\nline 2\r\n").expect("written");
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
            assert_eq!(self::expanded(text, folder.path(), true).expect(text), expanded);
        }
    }

    #[test]
    fn faults_name_what_is_missing() {
        let faults = |text, resolve| {
            expanded(text, Path::new("/nowhere"), resolve)
                .expect_err(text)
                .into_iter()
                .map(|fault| match fault {
                    SubstitutionFault::Malformed { message, .. } => format!("malformed: {message}"),
                    SubstitutionFault::Missing { message, .. } => format!("missing: {message}"),
                    SubstitutionFault::Left => "left".to_owned(),
                })
                .collect::<Vec<_>>()
                .join("; ")
        };
        let messages = |text| faults(text, true);
        insta::assert_snapshot!(messages("${B} ${EMPTY}"), @"missing: the environment variable `B` is not set; missing: the environment variable `EMPTY` is empty");
        insta::assert_snapshot!(messages("${A"), @"malformed: `${` without a closing `}`");
        insta::assert_snapshot!(messages("${a-b}${}"), @"malformed: `${a-b}` is not a valid environment variable name; malformed: `${}` is not a valid environment variable name");
        assert!(messages("${file:no.pem}").starts_with("missing: cannot read the file `no.pem`"));
        let left = |text| faults(text, false);
        insta::assert_snapshot!(left("${A} ${file:no.pem} ${a-b}"), @"left; left; malformed: `${a-b}` is not a valid environment variable name");
    }
}
