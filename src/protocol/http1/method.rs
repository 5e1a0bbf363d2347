//! Methods as they are counted: those that HTTP knows, and all others as one, so that no caller makes figures without end.

use http::Method;

/// Which method a request has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MethodKind {
    /// RFC 9110 §9.3.1; each of the others beside it.
    Get,
    /// §9.3.2
    Head,
    /// §9.3.3
    Post,
    /// §9.3.4
    Put,
    /// §9.3.5
    Delete,
    /// §9.3.6
    Connect,
    /// §9.3.7
    Options,
    /// §9.3.8
    Trace,
    /// RFC 5789
    Patch,
    /// Any other.
    #[default]
    Other,
}

impl MethodKind {
    /// By its name, which is told apart from others by case.
    #[inline]
    pub fn of(name: &str) -> MethodKind {
        match name {
            "GET" => MethodKind::Get,
            "HEAD" => MethodKind::Head,
            "POST" => MethodKind::Post,
            "PUT" => MethodKind::Put,
            "DELETE" => MethodKind::Delete,
            "CONNECT" => MethodKind::Connect,
            "OPTIONS" => MethodKind::Options,
            "TRACE" => MethodKind::Trace,
            "PATCH" => MethodKind::Patch,
            _ => MethodKind::Other,
        }
    }

    /// The same, by the `http` crate's own.
    pub fn of_http(method: &Method) -> MethodKind {
        MethodKind::of(method.as_str())
    }

    /// Its name; `_OTHER` for any other, as OpenTelemetry has it.
    pub const fn name(self) -> &'static str {
        match self {
            MethodKind::Get => "GET",
            MethodKind::Head => "HEAD",
            MethodKind::Post => "POST",
            MethodKind::Put => "PUT",
            MethodKind::Delete => "DELETE",
            MethodKind::Connect => "CONNECT",
            MethodKind::Options => "OPTIONS",
            MethodKind::Trace => "TRACE",
            MethodKind::Patch => "PATCH",
            MethodKind::Other => "_OTHER",
        }
    }
}
