//! How faults are carried out: connections that can be reset from beside, listeners that go and come back.
//!
//! Owns: the open connections of a listener whose backend has faults. Never: decides what strikes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::faults::{FaultKind, Struck};
use super::plain::{Channel, Plain};
use super::{ACCEPT_REST, Kind, Place, Service, plain, tls};

/// A fatal alert, internal_error (RFC 8446 §6), in a record of its own.
const ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50];
/// Never the limit: what is waited for is told.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// The clock that windows of faults go by: since when it counts. Whoever starts it anew tells all threads.
pub(super) type Epoch = watch::Receiver<Instant>;

/// What is left of a connection in other hands: a second descriptor of its socket.
pub(super) struct Line {
    socket: TcpStream,
    /// Something has been asked on it and not answered.
    busy: Cell<bool>,
    /// Its next answer is its last.
    leaving: Cell<bool>,
}

impl Line {
    pub(super) fn set_busy(&self, busy: bool) {
        self.busy.set(busy);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// At once, whatever else holds the socket: to connect to nowhere disconnects (tcp_disconnect), and that of an
    /// open connection is a reset.
    pub(super) fn reset(&self) {
        // It may have been closed by its peer.
        let _ = rustix::net::connect_unspec(&self.socket);
    }

    fn leave(&self) {
        self.leaving.set(true);
        if !self.busy.get() {
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }
}

/// Accepts for as long as the process lives, and goes away when faults say so.
pub(super) async fn accept(listener: TcpListener, service: Rc<Service>, kind: Kind) -> io::Error {
    let at = match listener.local_addr() {
        Ok(at) => at,
        Err(error) => return error,
    };
    let lines = Rc::new(RefCell::new(HashMap::new()));
    let mut epoch = service.epoch.clone();
    let mut there = Some(listener);
    loop {
        let now = service.now();
        let change = match service.faults.away(now) {
            Some((away, until)) => {
                if there.take().is_some() {
                    end(&lines.borrow(), away);
                }
                Some(until)
            }
            None => {
                if there.is_none() {
                    match super::listen(at, service.shared_ports) {
                        Ok(listener) => there = Some(listener),
                        Err(error) => return error,
                    }
                }
                service.faults.next_change(now)
            }
        };
        let changes = change.map_or(LONG, |change| change.saturating_sub(now));
        let serving = serve(there.as_ref(), &service, kind, &lines);
        tokio::select! {
            error = serving => return error,
            () = service.nap(changes) => {}
            told = epoch.changed() => if told.is_err() {
                // Nobody can start it anew any more: it counts on.
                service.nap(changes).await;
            },
        }
    }
}

type Lines = RefCell<HashMap<u64, Rc<Line>>>;

fn end(lines: &HashMap<u64, Rc<Line>>, away: FaultKind) {
    for line in lines.values() {
        match away {
            FaultKind::Restart => line.leave(),
            _ => line.reset(),
        }
    }
}

/// Accepts and serves until it is dropped; without a listener it only waits for that.
async fn serve(
    listener: Option<&TcpListener>,
    service: &Rc<Service>,
    kind: Kind,
    lines: &Rc<Lines>,
) -> io::Error {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    let listener = match watched(listener) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    loop {
        let accepted = match listener.accept().await {
            Ok((stream, _peer)) => stream.into_std(),
            Err(error) => Err(error),
        };
        match accepted.and_then(|stream| stream.set_nonblocking(false).map(|()| stream)) {
            Ok(stream) => begin(stream, service, kind, lines),
            Err(_) => service.nap(ACCEPT_REST).await,
        }
    }
}

fn watched(listener: &TcpListener) -> io::Result<tokio::net::TcpListener> {
    // Two descriptors of one socket: closing this one when it is given up leaves the other listening.
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn begin(stream: TcpStream, service: &Rc<Service>, kind: Kind, lines: &Rc<Lines>) {
    let now = service.now();
    let most = service.faults.connections_max(now);
    let Some(place) = Place::take(service, most) else {
        return;
    };
    let struck = service
        .faults
        .on_connection(now, &mut service.chance.borrow_mut());
    let Ok(socket) = stream.try_clone() else {
        return; // No descriptor is left: closing it is all that can be done.
    };
    let line = Rc::new(Line {
        socket,
        busy: Cell::new(false),
        leaving: Cell::new(false),
    });
    match struck.map(|struck| struck.kind) {
        Some(FaultKind::Refuse) => return line.reset(),
        Some(FaultKind::Alert) if matches!(kind, Kind::Tls) => {
            tokio_uring::spawn(async move {
                let _ = alert(stream).await;
                drop(place);
            });
            return;
        }
        Some(_) | None => {}
    }
    let (service, lines) = (Rc::clone(service), Rc::clone(lines));
    tokio_uring::spawn(async move {
        let number = service.chance.borrow_mut().next();
        lines.borrow_mut().insert(number, Rc::clone(&line));
        let stream = tokio_uring::net::TcpStream::from_std(stream);
        // What goes wrong on a connection ends that connection and nothing else.
        let _ = match kind {
            Kind::Plain => plain::serve(stream, Some(line), &service).await,
            Kind::Tls => tls::serve(stream, Some(line), &service).await,
        };
        lines.borrow_mut().remove(&number);
        drop(place);
    });
}

async fn alert(stream: TcpStream) -> io::Result<()> {
    let mut plain = Plain::new(tokio_uring::net::TcpStream::from_std(stream), None)?;
    if plain.receive(&mut Vec::new()).await? == 0 {
        return Ok(());
    }
    plain.send(&mut ALERT.to_vec()).await?;
    plain.finish().await
}

/// How much longer an answer takes that this strikes.
pub(super) fn stall(struck: Option<Struck>, now: Duration) -> Duration {
    match struck.map(|struck| (struck.kind, struck.until)) {
        Some((FaultKind::Stall(Some(longer)), _)) => longer,
        Some((FaultKind::Stall(None), Some(until))) => until.saturating_sub(now),
        Some(_) | None => Duration::ZERO,
    }
}
