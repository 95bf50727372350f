//! Why a request head is refused, and how the refusal travels through hyper to the service that answers it.
//!
//! Keeps: the answer comes after all earlier answers of the connection, and the refused bytes never reach hyper: in
//! their place it reads a small request of our own, whose method the filter lets no client send.

use http::{HeaderValue, Response, StatusCode, header};

use crate::error::{Error, ErrorKind};
use crate::http::Body;

macro_rules! refusals {
    ($($name:ident $kind:ident $sentence:literal)*) => {
        /// What is wrong with a head.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Refusal { $($name),* }

        impl Refusal {
            const ALL: &[Self] = &[$(Self::$name),*];

            /// What is wrong, for a person.
            pub(super) fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence),* }
            }

            fn kind(self) -> ErrorKind {
                match self { $(Self::$name => ErrorKind::$kind),* }
            }
        }
    };
}

refusals! {
    RequestLine BadRequest "the request line is malformed"
    Version BadRequest "the request is neither HTTP/1.1 nor HTTP/1.0"
    Method BadRequest "the method is not served"
    Target BadRequest "the request's target is malformed"
    TargetTooLong UriTooLong "the request's target is longer than allowed"
    BareLf BadRequest "a line ends in a bare line feed"
    Folded BadRequest "a header field is folded over several lines"
    FieldName BadRequest "a header field has no name, or a malformed one"
    Control BadRequest "a header field has a control byte"
    FieldsTooLarge HeadersTooLarge "the header fields are more or larger than allowed"
    NoHost BadRequest "the request has no `Host`"
    ManyHosts BadRequest "the request has more than one `Host`"
    Length BadRequest "`Content-Length` is doubled or no number"
    Coding BadRequest "`Transfer-Encoding` is anything but exactly one `chunked`"
    CodingInHttp10 BadRequest "HTTP/1.0 has no `Transfer-Encoding`"
    LengthAndCoding BadRequest "the request has both `Content-Length` and `Transfer-Encoding`"
}

impl Refusal {
    /// The method of the request that takes the refused one's place.
    pub(crate) const METHOD: &str = "LARDER-REFUSE";

    /// That request.
    pub(super) fn request(self) -> String {
        let number = self as usize;
        format!("{} /{number} HTTP/1.1\r\nhost: larder\r\nconnection: close\r\n\r\n", Self::METHOD)
    }

    /// The refusal that a request of this target stands for.
    pub(crate) fn of_path(path: &str) -> Self {
        let number = path.strip_prefix('/').and_then(|number| number.parse::<usize>().ok());
        number.and_then(|number| Self::ALL.get(number)).copied().unwrap_or(Self::Method)
    }

    /// The answer: status, what and why, and the end of the connection.
    pub(crate) fn answer(self) -> Response<Body> {
        let error = Error::new(self.kind(), self.sentence());
        let mut answer = Response::new(Body::full(format!("{error}\n")));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    fn status(self) -> StatusCode {
        self.kind().status()
    }
}
