//! Components on web servers.

use bytes::Bytes;
use url::Url;

use super::call::{Caller, Get, Reply};
use crate::model::{StageError, StageResult};
use crate::net::host_of;

pub(super) async fn download(caller: &Caller, url: &Url) -> StageResult<Bytes> {
    let host = host_of(url);
    let refused =
        |message: String, hint: &str| Err(StageError::misconfigured(caller.stage(), message).hint(hint));
    match caller.get(Get { url, accept: None, authorization: None }).await? {
        Reply::Body(bytes) => Ok(bytes),
        Reply::Missing => {
            refused(format!("{host} has no `{}`", url.path()), "correct the address in `component`")
        }
        Reply::Unauthorized(_) | Reply::Denied => refused(
            format!("{host} does not give `{}` to everybody", url.path()),
            "for components behind a login use a registry (`oci://…`), or fetch the file yourself",
        ),
    }
}
