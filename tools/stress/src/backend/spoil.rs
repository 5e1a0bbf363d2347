//! Answers that are none, or no good ones.
//!
//! Owns: what a request gets that a fault has struck. Never: decides that.

use std::io;
use std::time::Duration;

use super::faults::FaultKind;
use super::http::{Conversation, Next};
use super::plain::Channel;

/// What no parser of HTTP can take for a beginning.
const GARBAGE: &[u8] = b"\x00\xff\x17garbage, and no HTTP\r\n\r\n\x00\xff";
/// A slow body's pieces follow each other like this.
const PIECES: Duration = Duration::from_millis(20);
/// The most of a body that is cut in half which is sent.
const HALF_MAX: u64 = 64 << 10;

/// Answers like this, where a good answer would have a body of `size`.
pub(super) async fn spoil<C: Channel>(
    conversation: &mut Conversation<'_, C>,
    kind: FaultKind,
    size: u64,
) -> io::Result<Next> {
    match kind {
        FaultKind::Reset => {
            if let Some(line) = conversation.channel.line() {
                line.reset();
            }
        }
        FaultKind::Fin => conversation.channel.finish().await?,
        FaultKind::Garbage => {
            conversation.output.extend_from_slice(GARBAGE);
            conversation.flush().await?;
            conversation.channel.finish().await?;
        }
        FaultKind::Half => {
            let whole = size.clamp(2, HALF_MAX);
            conversation.begin_answer("", whole)?;
            conversation.text(whole / 2).await?;
            conversation.flush().await?;
            conversation.channel.finish().await?;
        }
        FaultKind::Hole => {
            while conversation.receive().await? {
                conversation.forget();
            }
        }
        FaultKind::Slow(rate) => {
            conversation.begin_answer("", size)?;
            conversation.flush().await?;
            slowly(conversation, rate, size).await?;
            return Ok(Next::Answered);
        }
        // None of them strikes requests, or spoils an answer.
        FaultKind::Stall(_)
        | FaultKind::Alert
        | FaultKind::Refuse
        | FaultKind::Limit(_)
        | FaultKind::Outage
        | FaultKind::Restart => debug_assert!(false, "{kind:?} spoils no answer"),
    }
    Ok(Next::Spoilt)
}

async fn slowly<C: Channel>(
    conversation: &mut Conversation<'_, C>,
    rate: u64,
    size: u64,
) -> io::Result<()> {
    let piece = (rate as f64 * PIECES.as_secs_f64()).max(1.0) as u64;
    let mut left = size;
    while left > 0 {
        let now = left.min(piece);
        conversation
            .service
            .nap(Duration::from_secs_f64(now as f64 / rate as f64))
            .await;
        conversation.text(now).await?;
        conversation.flush().await?;
        left -= now;
    }
    Ok(())
}
