//! Files as resources: `reposync://PROJECT/REPOSITORY/PATH`, the parts percent-encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rmcp::model::{ErrorData, MetaObject, ReadResourceResult, ResourceContents, ResourceTemplate};
use serde_json::json;

use super::calls::fresh;
use super::error::explained;
use crate::app::{App, AppError};

const SCHEME: &str = "reposync://";

/// Characters that a part of a path may have as they are.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How files are addressed.
pub(super) fn template() -> ResourceTemplate {
    ResourceTemplate::new("reposync://{project}/{repository}/{+path}", "indexed file")
        .with_title("A file at its indexed commit")
        .with_description(
            "The cleaned text of an indexed file. Encode a `/` in the repository's name as %2F, such as \
             reposync://docs/acme%2Fapi/src/lib.rs",
        )
        .with_mime_type("text/plain")
}

/// A file.
pub(super) async fn read(app: &App, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let Some((project, repository, path)) = parse(uri) else {
        let message = "a resource is reposync://PROJECT/REPOSITORY/PATH, with `/` in REPOSITORY as %2F";
        return Err(ErrorData::invalid_params(message, None));
    };
    let file = app.read(std::slice::from_ref(&project), &repository, &path).await.map_err(|error| {
        let message = crate::model::mask_secrets(&explained(&error)).into_owned();
        match error {
            AppError::Stage(_) => ErrorData::internal_error(message, None),
            _ => ErrorData::resource_not_found(message, Some(json!({ "uri": uri }))),
        }
    })?;
    let freshness = fresh(app, &file.project, &file.repository).await;
    let mut meta = MetaObject::default();
    for (key, value) in [
        ("reposync/commit", json!(file.commit)),
        ("reposync/url", json!(file.url)),
        ("reposync/commits_behind", json!(freshness.behind())),
    ] {
        meta.insert(key.to_owned(), value);
    }
    let text = file.text.lines(1, u64::MAX).into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
    let uri = address(&file.project, &file.repository, &file.path);
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_meta(meta)]))
}

fn address(project: &str, repository: &str, path: &str) -> String {
    let encode = |part: &str| utf8_percent_encode(part, PLAIN).to_string();
    let path: Vec<String> = path.split('/').map(encode).collect();
    format!("{SCHEME}{}/{}/{}", encode(project), encode(repository), path.join("/"))
}

/// Project, repository and path.
fn parse(uri: &str) -> Option<(String, String, String)> {
    let mut parts = uri.strip_prefix(SCHEME)?.splitn(3, '/');
    let mut next = || {
        let part = percent_decode_str(parts.next()?).decode_utf8().ok()?;
        (!part.is_empty()).then(|| part.into_owned())
    };
    Some((next()?, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_its_file() {
        let uri = address("a project", "acme/api", "src/é b#1.rs");
        assert_eq!(uri, "reposync://a%20project/acme%2Fapi/src/%C3%A9%20b%231.rs");
        let parsed = parse(&uri).expect("a file");
        assert_eq!(parsed, ("a project".into(), "acme/api".into(), "src/é b#1.rs".into()));
        for odd in [
            "",
            "reposync://",
            "reposync://p",
            "reposync://p/r",
            "reposync://p/r/",
            "reposync:///r/f",
            "file:///x",
            "reposync://p/r/%ff",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
