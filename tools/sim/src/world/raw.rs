//! One connection to a server that speaks lines: `nonce upstream`, answered by a signature.

use super::connection::Link;
use super::signature::Signature;
use super::tls::Service;
use crate::oracle::Arrival;
use crate::stage::Stage;
use ringpool::simulation::{Answers, Peer};
use std::rc::Rc;

/// The server's side of one connection.
pub struct LineServer {
    stage: Rc<Stage>,
    link: Rc<Link>,
    buffer: Vec<u8>,
    uses: u32,
    deaf: bool,
}

impl LineServer {
    /// The server at the end of `link`.
    pub fn new(stage: Rc<Stage>, link: Rc<Link>) -> LineServer {
        LineServer {
            stage,
            link,
            buffer: Vec::new(),
            uses: 0,
            deaf: false,
        }
    }

    fn line(&mut self, line: &str, out: &mut Answers) {
        let (nonce, host) = line.split_once(' ').unwrap_or_default();
        let Ok(nonce) = nonce.parse() else {
            let what = format!("{line:?} came to a server of lines");
            return self.stage.oracle.borrow_mut().broken_request(what);
        };
        let silent = self.stage.mischief(self.stage.knobs.mischief.answers / 2);
        let arrival = self.stage.oracle.borrow_mut().arrived(Arrival {
            nonce,
            upstream: self.link.upstream,
            server: self.link.server,
            connection: self.link.number,
            uses_before: self.uses,
            method: "LINE".to_owned(),
            host: host.to_owned(),
            made_for: self.link.made_for(host),
            at: self.stage.now.get(),
            pipelined: false,
            spoiled: self.link.spoiled.get(),
            answerable: !silent && !self.deaf,
        });
        self.stage
            .tell(|| format!("server {}: line {nonce} is here", self.link));
        self.uses += 1;
        if self.deaf || silent {
            return;
        }
        let signature = Signature {
            nonce,
            upstream: self.link.upstream,
            server: self.link.server,
            connection: self.link.number,
            arrival,
        };
        let think = self.stage.dice.borrow_mut().millis(0, 10);
        out.wait(think);
        out.send(format!("{}\n", signature.write()));
        self.link.busy_until.set(self.stage.now.get() + think);
        if self.stage.mischief(self.stage.knobs.mischief.closes) {
            self.deaf = true;
            self.link.spoil(self.stage.now.get() + think);
            out.end();
        }
    }
}

impl Service for LineServer {
    fn is_at_rest(&self) -> bool {
        self.buffer.is_empty() && self.stage.now.get() >= self.link.busy_until.get()
    }

    fn fall_silent(&mut self) {
        self.deaf = true;
    }
}

impl Peer for LineServer {
    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        self.buffer.extend_from_slice(bytes);
        if self
            .buffer
            .first()
            .is_some_and(|byte| !byte.is_ascii_digit())
        {
            let what = "something else than a line came to a server of lines".to_owned();
            self.stage.oracle.borrow_mut().broken_request(what);
        }
        while let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            self.line(&line, out);
        }
    }

    fn ended(&mut self, _out: &mut Answers) {
        self.link.gone.set(true);
    }
}
