//! URLs as operators and applications write them, and the selectors that they mean.

use http::Uri;

use crate::proxy::Shared;
use crate::proxy::sanitize::host_of;
use crate::purge::Selector;

/// A whole URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// In lower case, without a default port.
    authority: String,
    uri: Uri,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, to be read after the URL itself.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "is not a URL: write it whole, as http://host/path")?;
        let authority = uri.authority().ok_or("has no host: write it whole, as http://host/path")?;
        let authority = authority.as_str().to_ascii_lowercase();
        // A bare host parses as a URL too, and would purge nothing.
        let default = match uri.scheme_str() {
            Some("http") => ":80",
            Some("https") => ":443",
            _ => return Err("does not begin with http:// or https://: write it whole, as http://host/path"),
        };
        let authority = authority.strip_suffix(default).unwrap_or(&authority).to_owned();
        Ok(Self { authority, uri })
    }
}

/// The selector of a URL with all its variants, or `None` where no route caches it.
pub(super) fn selector(shared: &Shared, url: &Url) -> Option<Selector> {
    shared.url_selector(host_of(&url.authority), &url.authority, url.uri.path(), url.uri.query())
}
