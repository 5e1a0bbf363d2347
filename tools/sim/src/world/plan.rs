//! What a server does with one request: the answer that it deserves, or something else.
//!
//! Owns: the choice, and the bytes. Never: an answer that looks right and is not; what a client cannot tell
//! from the truth would prove nothing.

use super::filler;
use super::signature::Signature;
use crate::dice::Dice;
use crate::knobs::Mischief;
use ringpool::simulation::Answers;
use std::time::Duration;

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Before anything.
    pub think: Duration,
    /// Interim responses before the final one.
    pub interim: u32,
    /// What the head and body look like.
    pub shape: Shape,
    /// Between head and body, and in the middle of the body.
    pub pause: Duration,
    /// What goes wrong, if anything.
    pub fault: Option<AnswerFault>,
    /// What happens to the connection afterwards.
    pub after: After,
}

/// How the end of a response's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Content-Length.
    Length,
    /// Chunks of this size, with a trailer perhaps.
    Chunked(usize, bool),
    /// The end of the connection.
    UntilClose,
    /// There is none: 204.
    NoContent,
}

/// What may be wrong with an answer. After each the connection is of no use, and the call gets no response
/// from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFault {
    /// None at all, and the connection stays.
    Silence,
    /// None, and the connection ends.
    Cut(Where, Cut),
    /// Not HTTP, or not as HTTP has it.
    Garbled(u64),
    /// A head over the limit, this long.
    HugeHead(usize),
    /// More interim responses than allowed.
    InterimFlood,
}

/// What a client takes of a response's head, whatever its settings of the moment.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Nothing longer is taken.
    pub bytes_max: usize,
    /// So many interim responses are always taken.
    pub informational_max: u32,
}

/// Where an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Before its first byte.
    Before,
    /// In the head.
    Head,
    /// In the body.
    Body,
}

/// How it breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// FIN.
    End,
    /// RST.
    Reset,
    /// Nothing more comes.
    Stall,
}

/// What happens once an answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The connection stays.
    Stay,
    /// `Connection: close`, and FIN.
    Close,
    /// FIN, unannounced.
    SilentEnd,
    /// Bytes that belong to nothing.
    Excess,
}

impl Plan {
    /// What a server in good order does, in one of many right ways.
    pub fn honest(dice: &mut Dice) -> Plan {
        let shape = match dice.below(8) {
            0..4 => Shape::Length,
            4..6 => Shape::Chunked(dice.magnitude(1, 5000) as usize, dice.one_in(3)),
            6 => Shape::NoContent,
            _ => Shape::Chunked(100_000, false),
        };
        Plan {
            think: dice.millis(0, 3),
            interim: 0,
            shape,
            pause: Duration::ZERO,
            fault: None,
            after: After::Stay,
        }
    }

    /// What this server does.
    pub fn mischievous(dice: &mut Dice, mischief: &Mischief, limits: HeadLimits) -> Plan {
        let mut plan = Plan::honest(dice);
        if dice.chance(mischief.slow) {
            plan.think = mischief.slow_max.mul_f64(dice.below(1024) as f64 / 1024.0);
            plan.pause = plan.think / (1 + dice.below(8) as u32);
        }
        if dice.one_in(8) {
            plan.interim = dice.within(0, limits.informational_max.into()) as u32;
        }
        if dice.chance(mischief.closes) {
            plan.after = *dice.pick(&[After::Close, After::Close, After::SilentEnd]);
            if dice.one_in(4) {
                plan.shape = Shape::UntilClose;
                plan.after = After::Close;
            }
        }
        if dice.chance(mischief.answers) {
            plan.fault = Some(fault(dice, limits));
            // A body that no length tells of is complete wherever it breaks off.
            plan.shape = Shape::Length;
        } else if dice.chance(mischief.idle) && plan.after == After::Stay {
            plan.after = After::Excess;
        }
        plan
    }

    /// How long it takes at the longest from the request's end to the last byte.
    pub fn takes(&self) -> Duration {
        self.think + self.pause * 2
    }

    /// The same plan as it applies to HEAD and its like: there is no body to pause or to break off in.
    pub fn without_body(mut self) -> Plan {
        self.pause = Duration::ZERO;
        self.fault = self.fault.map(|fault| match fault {
            AnswerFault::Cut(Where::Body, cut) => AnswerFault::Cut(Where::Head, cut),
            AnswerFault::Cut(Where::Before | Where::Head, _)
            | AnswerFault::Silence
            | AnswerFault::Garbled(_)
            | AnswerFault::HugeHead(_)
            | AnswerFault::InterimFlood => fault,
        });
        self
    }

    /// Does it. `body_wanted` is false for HEAD.
    pub fn perform(&self, signature: &Signature, size: usize, to_head: bool, out: &mut Answers) {
        if self.think > Duration::ZERO {
            out.wait(self.think);
        }
        for _ in 0..self.interim {
            out.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        }
        let (head, body) = self.message(signature, size, to_head);
        match self.fault {
            None => self.answer(head, body, out),
            Some(fault) => self.misbehave(fault, head, body, out),
        }
    }

    fn answer(&self, mut head: Vec<u8>, body: Vec<u8>, out: &mut Answers) {
        if self.pause == Duration::ZERO {
            head.extend_from_slice(&body);
            out.send(head);
        } else {
            let (first, second) = body.split_at(body.len() / 2);
            out.send(head);
            out.wait(self.pause);
            out.send(first);
            out.wait(self.pause);
            out.send(second);
        }
        match self.after {
            After::Stay => {}
            After::Close | After::SilentEnd => out.end(),
            // No client takes this for the beginning of a response.
            After::Excess => out.send("?excess"),
        }
    }

    fn misbehave(&self, fault: AnswerFault, head: Vec<u8>, body: Vec<u8>, out: &mut Answers) {
        match fault {
            AnswerFault::Silence => {}
            AnswerFault::Cut(place, cut) => {
                match place {
                    Where::Before => {}
                    Where::Head => out.send(&head[..head.len() / 2]),
                    Where::Body => {
                        out.send(head);
                        out.wait(self.pause);
                        out.send(&body[..body.len() / 2]);
                    }
                }
                match cut {
                    Cut::End => out.end(),
                    Cut::Reset => out.reset(),
                    Cut::Stall => {}
                }
            }
            AnswerFault::Garbled(kind) => {
                let text = GARBLED[(kind % GARBLED.len() as u64) as usize];
                out.send(text);
                out.end();
            }
            AnswerFault::HugeHead(len) => {
                let mut huge = b"HTTP/1.1 200 OK\r\nx-long: ".to_vec();
                huge.resize(len, b'x');
                out.send(huge);
            }
            AnswerFault::InterimFlood => {
                for _ in 0..20 {
                    out.send("HTTP/1.1 102 Processing\r\n\r\n");
                }
            }
        }
    }

    fn message(&self, signature: &Signature, size: usize, to_head: bool) -> (Vec<u8>, Vec<u8>) {
        let line = signature.write();
        let status = match self.shape {
            Shape::NoContent => "204 No Content",
            Shape::Length | Shape::Chunked(..) | Shape::UntilClose => "200 OK",
        };
        let mut head = format!("HTTP/1.1 {status}\r\nx-sim: {line}\r\n").into_bytes();
        if self.after == After::Close {
            head.extend_from_slice(b"Connection: close\r\n");
        }
        let mut content = format!("{line}\n").into_bytes();
        filler::fill(&mut content, signature.nonce, size);
        let mut body = Vec::new();
        match self.shape {
            Shape::Length => {
                let length = format!("Content-Length: {}\r\n", content.len());
                head.extend_from_slice(length.as_bytes());
                body = content;
            }
            Shape::Chunked(chunk, trailer) => {
                head.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                for piece in content.chunks(chunk) {
                    body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    body.extend_from_slice(piece);
                    body.extend_from_slice(b"\r\n");
                }
                let end = if trailer {
                    "0\r\nx-end: 1\r\n\r\n"
                } else {
                    "0\r\n\r\n"
                };
                body.extend_from_slice(end.as_bytes());
            }
            Shape::UntilClose => body = content,
            Shape::NoContent => {}
        }
        head.extend_from_slice(b"\r\n");
        if to_head {
            body.clear();
        }
        (head, body)
    }

    /// Whether a client may take what comes for a complete response.
    pub fn is_answer(&self) -> bool {
        self.fault.is_none()
    }

    /// Whether the connection may carry another request after this.
    pub fn keeps(&self) -> bool {
        self.fault.is_none() && self.after == After::Stay
    }
}

fn fault(dice: &mut Dice, limits: HeadLimits) -> AnswerFault {
    let place = *dice.pick(&[Where::Before, Where::Before, Where::Head, Where::Body]);
    let cut = *dice.pick(&[Cut::End, Cut::Reset, Cut::Stall]);
    match dice.below(10) {
        0 => AnswerFault::Silence,
        1 | 2 => AnswerFault::Garbled(dice.bits() >> 1),
        3 => AnswerFault::HugeHead(limits.bytes_max + 500),
        4 => AnswerFault::InterimFlood,
        _ => AnswerFault::Cut(place, cut),
    }
}

const GARBLED: &[&str] = &[
    "HTTP/9.9 200 OK\r\n\r\n",
    "\0\0\0\0\0\0\0\0",
    "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!0\r\n\r\n",
    "SSH-2.0-OpenSSH_9.6\r\n\r\n",
];
