//! Nothing, in the place of spans and events.

use crate::endpoint::Endpoint;
use crate::error::Error;
use std::fmt::Display;
use std::future::Future;

/// No span.
#[derive(Debug, Default)]
pub(crate) struct Span(());

impl Span {
    #[inline(always)]
    pub(crate) fn error(&self, _error: &dyn Display) {}

    #[inline(always)]
    pub(crate) fn opened(&self, _endpoint: Option<&Endpoint>) {}

    #[inline(always)]
    pub(crate) fn resumed(&self, _resumed: bool) {}

    #[inline(always)]
    pub(crate) fn ends(&self, _reason: &'static str, _uses: u64) {}
}

/// No context.
#[derive(Debug, Default)]
pub(crate) struct Caller(());

impl Caller {
    #[inline(always)]
    pub(crate) fn current() -> Caller {
        Caller(())
    }
}

#[inline(always)]
pub(crate) fn connection(_upstream: &str, _shard: usize) -> Span {
    Span(())
}

#[inline(always)]
pub(crate) fn connect(_of: &Span, _endpoint: &Endpoint) -> Span {
    Span(())
}

#[inline(always)]
pub(crate) fn handshake(_of: &Span) -> Span {
    Span(())
}

#[inline(always)]
pub(crate) fn lookup(_host: &str) -> Span {
    Span(())
}

#[inline(always)]
pub(crate) fn wait() -> Span {
    Span(())
}

#[inline(always)]
pub(crate) fn link(_to: &Span) {}

#[inline(always)]
pub(crate) fn answered(_status: u16) {}

#[inline(always)]
pub(crate) fn failed(_error: &Error) {}

#[inline(always)]
pub(crate) fn lost(_shard: usize, _why: &Error) {}

#[inline(always)]
pub(crate) fn small_ring(_shard: usize, _asked: u32, _entries: u32) {}

#[inline(always)]
pub(crate) fn request<'a>(
    _caller: Caller,
    _what: impl FnOnce() -> (&'a str, &'static str),
) -> Span {
    Span(())
}

#[inline(always)]
pub(crate) fn within<F: Future>(_span: Span, run: impl FnOnce() -> F) -> F {
    run()
}
