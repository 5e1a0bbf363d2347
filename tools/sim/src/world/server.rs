//! One connection to an HTTP/1.1 server, seen from the server.
//!
//! Owns: the conversation, and telling the oracle the truth about it. Never: decides whether the client
//! did right.

use super::connection::Link;
use super::filler;
use super::plan::{After, AnswerFault, Cut, HeadLimits, Plan, Shape, Where};
use super::request::{Found, RequestHead, Requests};
use super::signature::{Signature, Stray};
use super::tls::Service;
use crate::oracle::Arrival;
use crate::stage::Stage;
use ringpool::simulation::{Answers, Peer};
use std::rc::Rc;
use std::time::Duration;

/// The server's side of one connection.
pub struct HttpServer {
    stage: Rc<Stage>,
    link: Rc<Link>,
    requests: Requests,
    current: Option<Current>,
    /// Until when the answer to the last request is on its way out.
    busy_until: Duration,
    /// It answers nothing any more.
    deaf: bool,
    /// It has answered before it was asked: whoever asks next may take that for his answer, if the two
    /// cross, and then the connection is as good as any.
    answered_ahead: bool,
    /// How many requests came.
    uses: u32,
}

/// The request under way.
struct Current {
    head: RequestHead,
    arrival: usize,
    body: usize,
    plan: Plan,
    answered: bool,
}

impl HttpServer {
    /// The server at the end of `link`.
    pub fn new(stage: Rc<Stage>, link: Rc<Link>) -> HttpServer {
        HttpServer {
            stage,
            link,
            requests: Requests::default(),
            current: None,
            busy_until: Duration::ZERO,
            deaf: false,
            answered_ahead: false,
            uses: 0,
        }
    }

    fn on_head(&mut self, head: RequestHead, out: &mut Answers) {
        let now = self.stage.now.get();
        let pipelined = !self.deaf && (self.current.is_some() || now < self.busy_until);
        let mut plan = self.plan();
        if head.method == "HEAD" || plan.shape == Shape::NoContent {
            plan = plan.without_body();
        }
        let arrival = self.stage.oracle.borrow_mut().arrived(Arrival {
            nonce: head.nonce,
            upstream: self.link.upstream,
            server: self.link.server,
            connection: self.link.number,
            uses_before: self.uses,
            method: head.method.clone(),
            host: head.host.clone(),
            made_for: self.link.made_for(&head.host),
            at: now,
            pipelined,
            spoiled: self.link.spoiled.get(),
            answerable: plan.is_answer() && !self.deaf && !self.ends_in_doubt(&head, &plan),
        });
        self.stage.tell(|| {
            format!(
                "server {}: request {} is here, {}",
                self.link,
                head.nonce,
                if self.deaf {
                    "unheard".into()
                } else {
                    plan.story()
                }
            )
        });
        self.uses += 1;
        let ahead = std::mem::take(&mut self.answered_ahead);
        if ahead {
            self.link.spoiled.set(None);
        }
        let early = self.stage.mischief(40);
        let waits = head.expects_continue;
        self.link.until_close.set(plan.shape == Shape::UntilClose);
        self.current = Some(Current {
            head,
            arrival,
            body: 0,
            plan,
            answered: ahead,
        });
        if self.deaf {
            self.deaf = !ahead;
            return;
        }
        if early {
            self.answer(out);
        } else if waits && !self.stage.mischief(300) {
            out.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Whether the end of the body would be told by the end of the connection, and that by nobody.
    fn ends_in_doubt(&self, head: &RequestHead, plan: &Plan) -> bool {
        self.link.rude.get() && plan.shape == Shape::UntilClose && head.method != "HEAD"
    }

    fn plan(&self) -> Plan {
        let dice = &mut self.stage.dice.borrow_mut();
        let knobs = &self.stage.knobs;
        let mut plan = match self.stage.calm.get() {
            true => Plan::honest(dice),
            false => {
                let all = || knobs.at_home(self.link.upstream);
                let bytes_max =
                    all().map(|one| knobs.most(one, |settings| settings.head_bytes_max));
                let interim =
                    all().map(|one| knobs.least(one, |settings| settings.informational_max));
                let limits = HeadLimits {
                    bytes_max: bytes_max.max().unwrap_or_default(),
                    informational_max: interim.min().unwrap_or_default(),
                };
                Plan::mischievous(dice, &knobs.mischief, limits)
            }
        };
        if let Some(service) = knobs.service {
            plan.think = service;
            plan.interim = 0;
        }
        plan
    }

    fn on_body(&mut self, piece: &[u8]) {
        let Some(current) = &mut self.current else {
            return;
        };
        if !filler::matches(piece, current.head.nonce, current.body) {
            let what = format!("the body of request {} came changed", current.head.nonce);
            self.stage.oracle.borrow_mut().broken_request(what);
        }
        current.body += piece.len();
    }

    fn on_end(&mut self, out: &mut Answers) {
        let answered = self.current.as_ref().is_none_or(|current| current.answered);
        if let Some(current) = &self.current {
            let oracle = &mut self.stage.oracle.borrow_mut();
            oracle.uploaded(current.head.nonce, current.body);
        }
        if !answered && !self.deaf {
            self.answer(out);
        }
        self.current = None;
    }

    fn answer(&mut self, out: &mut Answers) {
        let Some(current) = &mut self.current else {
            return;
        };
        current.answered = true;
        let (plan, now) = (&current.plan, self.stage.now.get());
        self.busy_until = now + plan.takes();
        self.link.busy_until.set(self.busy_until);
        if plan.keeps() && self.stage.mischief(self.stage.knobs.mischief.idle) {
            let rest = self.stage.dice.borrow_mut().millis(0, 60);
            out.timer(plan.takes() + rest);
        }
        let signature = Signature {
            nonce: current.head.nonce,
            upstream: self.link.upstream,
            server: self.link.server,
            connection: self.link.number,
            arrival: current.arrival,
        };
        let to_head = current.head.method == "HEAD";
        plan.perform(&signature, current.head.wants, to_head, out);
        if !plan.keeps() {
            self.deaf = true;
            self.link.spoil(now + plan.takes());
        }
        self.stage.coverage.borrow_mut().answered(plan);
    }

    /// Something unasked on a connection that is at rest.
    fn stray(&mut self, out: &mut Answers) {
        let now = self.stage.now.get();
        let kind = self.stage.dice.borrow_mut().below(6);
        self.deaf = true;
        self.link.spoil(now);
        let name = match kind {
            0 | 1 => {
                out.end();
                "idle_end"
            }
            2 => {
                out.reset();
                "idle_reset"
            }
            3 => {
                out.send("?");
                "idle_byte"
            }
            4 => {
                out.send(self.stray_answer("408 Request Timeout", now));
                out.end();
                "idle_408"
            }
            _ => {
                out.send(self.stray_answer("200 OK", now));
                self.answered_ahead = true;
                "idle_answer"
            }
        };
        self.stage.coverage.borrow_mut().fault(name);
        self.stage.tell(|| format!("server {}: {name}", self.link));
    }
}

impl HttpServer {
    /// A complete response that nobody asked for. It says so: a client that had sent its request
    /// before this came has no way to know.
    fn stray_answer(&self, status: &str, now: Duration) -> String {
        let line = Stray::write(self.link.upstream, self.link.server, now);
        let length = line.len() + 1;
        format!("HTTP/1.1 {status}\r\nx-sim: {line}\r\nContent-Length: {length}\r\n\r\n{line}\n")
    }
}

impl Service for HttpServer {
    fn is_at_rest(&self) -> bool {
        self.current.is_none() && self.stage.now.get() >= self.busy_until
    }

    fn fall_silent(&mut self) {
        self.deaf = true;
    }
}

impl Peer for HttpServer {
    fn connected(&mut self, out: &mut Answers) {
        self.stage
            .tell(|| format!("server {}: accepted", self.link));
        if self.stage.mischief(self.stage.knobs.mischief.idle / 2) {
            let rest = self.stage.dice.borrow_mut().millis(0, 40);
            out.timer(rest);
        }
    }

    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        self.requests.feed(bytes);
        while let Some(found) = self.requests.next() {
            match found {
                Found::Head(head) => self.on_head(head, out),
                Found::Body(piece) => self.on_body(&piece),
                Found::End => self.on_end(out),
                Found::Broken(what) => self.stage.oracle.borrow_mut().broken_request(what),
            }
        }
    }

    fn timer(&mut self, out: &mut Answers) {
        if self.is_at_rest() && !self.deaf && !self.stage.calm.get() {
            self.stray(out);
        }
    }

    fn ended(&mut self, _out: &mut Answers) {
        self.stage
            .tell(|| format!("server {}: the client has closed", self.link));
        self.link.gone.set(true);
    }
}

impl Plan {
    /// In a few words.
    pub fn story(&self) -> String {
        let what = match (self.fault, self.after) {
            (None, After::Stay) => "answers".to_owned(),
            (None, After::Close) => "answers and closes".to_owned(),
            (None, After::SilentEnd) => "answers and closes unannounced".to_owned(),
            (None, After::Excess) => "answers too much".to_owned(),
            (Some(AnswerFault::Silence), _) => "says nothing".to_owned(),
            (Some(AnswerFault::Cut(place, cut)), _) => {
                let place = match place {
                    Where::Before => "before the head",
                    Where::Head => "in the head",
                    Where::Body => "in the body",
                };
                let cut = match cut {
                    Cut::End => "closes",
                    Cut::Reset => "resets",
                    Cut::Stall => "stalls",
                };
                format!("{cut} {place}")
            }
            (Some(AnswerFault::Garbled(_)), _) => "answers nonsense".to_owned(),
            (Some(AnswerFault::HugeHead(_)), _) => "answers with a huge head".to_owned(),
            (Some(AnswerFault::InterimFlood), _) => "floods".to_owned(),
        };
        format!("{what} {:?} in {:?}", self.shape, self.takes())
    }
}
