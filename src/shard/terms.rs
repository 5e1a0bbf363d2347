//! What one call goes by: its own options, and where it has none its upstream's settings.
//!
//! Owns: the reading of settings for a call, once, at its beginning: a call ends by the rules that it
//! began with. Never: changes under way.

use super::local::LocalUpstream;
use crate::config::{CallOptions, Class};
use crate::driver::Driver;
use crate::error::Error;
use crate::protocol::http1;
use crate::time::Time;
use std::time::Duration;

/// One call's rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) begun: Time,
    /// The one deadline, over all attempts.
    pub(crate) deadline: Time,
    /// How long the body may stand still.
    pub(crate) body_timeout: Duration,
    /// How long the upstream's own settings let a call take, and its body stand still. A caller may have less
    /// time, or more.
    pub(crate) call_timeout: Duration,
    pub(crate) class: Class,
    /// Whether doing it twice is like doing it once.
    pub(crate) idempotent: bool,
    pub(crate) attempts_max: u32,
    pub(crate) wait_timeout: Duration,
    /// How long a body is held back for 100 (Continue).
    pub(crate) continue_timeout: Duration,
    pub(crate) limits: http1::Limits,
}

impl Terms {
    /// The terms of a call that comes now, and is counted where it begins. `idempotent`: what its method
    /// says.
    ///
    /// # Errors
    /// [`Draining`](crate::error::ErrorKind::Draining) if none may begin any more.
    pub(super) fn begin<D: Driver>(
        upstream: &LocalUpstream<D>,
        options: CallOptions,
        idempotent: bool,
    ) -> Result<Terms, Error> {
        let begun = upstream.let_in()?;
        Ok(Terms::of(upstream, begun, options, idempotent))
    }

    /// The same, of a call that was let in at `begun`. In line: terms are made where they stay.
    #[inline(always)]
    pub(super) fn of<D: Driver>(
        upstream: &LocalUpstream<D>,
        begun: Time,
        options: CallOptions,
        idempotent: bool,
    ) -> Terms {
        let options = options.or(upstream.options);
        let config = upstream.policy.glance();
        let timeout = options.timeout.unwrap_or(config.call_timeout);
        Terms {
            begun,
            deadline: begun + timeout,
            body_timeout: timeout,
            call_timeout: config.call_timeout,
            class: options.class.unwrap_or(config.class),
            idempotent: options.idempotent.unwrap_or(idempotent),
            attempts_max: options.attempts_max.unwrap_or(config.retry.attempts_max),
            wait_timeout: config.wait_timeout,
            continue_timeout: config.continue_timeout,
            limits: http1::Limits {
                head_bytes_max: config.head_bytes_max,
                headers_max: config.headers_max,
                informational_max: config.informational_max,
                ..http1::Limits::default()
            },
        }
    }

    /// By when an attempt that begins `now` has to have a connection.
    pub(crate) fn wait_until(&self, now: Time) -> Time {
        self.deadline.min(now + self.wait_timeout)
    }
}

/// The rules of a checkout for raw use.
pub(crate) struct CheckoutTerms {
    pub(crate) deadline: Time,
    pub(crate) class: Class,
}

impl CheckoutTerms {
    /// # Errors
    /// As [`Terms::begin`].
    pub(crate) fn begin<D: Driver>(upstream: &LocalUpstream<D>) -> Result<CheckoutTerms, Error> {
        let begun = upstream.let_in()?;
        let config = upstream.policy();
        let options = upstream.options;
        let timeout = options.timeout.unwrap_or(Duration::MAX);
        Ok(CheckoutTerms {
            deadline: begun + timeout.min(config.wait_timeout),
            class: options.class.unwrap_or(config.class),
        })
    }
}
