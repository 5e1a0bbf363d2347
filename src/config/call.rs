//! What a call says for itself, where its upstream's settings are not what it wants.
//!
//! Owns: the words. Never: defaults of its own; what is not said here the upstream's settings say.

use super::class::Class;
use std::time::Duration;

/// What one call wants otherwise than its upstream's settings.
///
/// It travels among the request's extensions
/// (`request.extensions_mut().insert(CallOptions { .. })`), or with a handle, for all its calls
/// ([`Upstream::with_options`](crate::Upstream::with_options)). The request's own word counts first,
/// field by field, then the handle's, then the upstream's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// How long the call may take, over all its attempts; else
    /// [`call_timeout`](crate::config::UpstreamConfig::call_timeout). A shorter one that runs out says
    /// nothing against the endpoint.
    pub timeout: Option<Duration>,
    /// How much it matters; else [`class`](crate::config::UpstreamConfig::class). A request may also
    /// have a [`Class`] alone among its extensions; what is said here counts first.
    pub class: Option<Class>,
    /// The most attempts, the first one included; else
    /// [`attempts_max`](crate::config::RetryConfig::attempts_max). Both 0 and 1 are one attempt.
    pub attempts_max: Option<u32>,
    /// Whether doing it twice is like doing it once; else the method says so (RFC 9110 §9.2.2). True
    /// lets a POST that carries a key against repetition be repeated, false keeps a PUT that means
    /// more than it should from that.
    pub idempotent: Option<bool>,
}

impl CallOptions {
    /// What a request says by its extensions.
    pub(crate) fn of(extensions: &http::Extensions) -> CallOptions {
        let options: CallOptions = extensions.get().copied().unwrap_or_default();
        CallOptions {
            class: options.class.or_else(|| extensions.get().copied()),
            ..options
        }
    }

    /// These, and `others` where these say nothing.
    pub(crate) fn or(self, others: CallOptions) -> CallOptions {
        CallOptions {
            timeout: self.timeout.or(others.timeout),
            class: self.class.or(others.class),
            attempts_max: self.attempts_max.or(others.attempts_max),
            idempotent: self.idempotent.or(others.idempotent),
        }
    }
}

impl From<Class> for CallOptions {
    /// Nothing but the class.
    fn from(class: Class) -> CallOptions {
        CallOptions {
            class: Some(class),
            ..CallOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_word_counts_first() {
        let mut extensions = http::Extensions::new();
        assert_eq!(CallOptions::of(&extensions), CallOptions::default());
        extensions.insert(Class::Critical);
        let alone = CallOptions::of(&extensions);
        assert_eq!(alone.class, Some(Class::Critical));
        extensions.insert(CallOptions {
            class: Some(Class::Sheddable),
            idempotent: Some(true),
            ..CallOptions::default()
        });
        let request = CallOptions::of(&extensions);
        assert_eq!(request.class, Some(Class::Sheddable));
        let handle = CallOptions {
            idempotent: Some(false),
            attempts_max: Some(5),
            ..CallOptions::default()
        };
        let both = request.or(handle);
        assert_eq!((both.idempotent, both.attempts_max), (Some(true), Some(5)));
        assert_eq!(both.timeout, None);
    }
}
