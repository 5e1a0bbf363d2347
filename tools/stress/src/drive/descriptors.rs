//! How many sockets this process has towards each of some places, as the kernel counts.
//!
//! Owns the looking, on a thread of its own. It must never count what is closed: a socket that lives on without a
//! descriptor, to say its farewell, has no inode in the kernel's table. Nor what was not open at once: the table is read
//! in parts, between which sockets come and go, so what counts is what two readings, one after the other, both have: it
//! was open in between.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
const LISTEN: u8 = 0x0a;

/// Looks until it is told to end.
pub(super) struct Descriptors {
    end: Sender<()>,
    thread: JoinHandle<io::Result<Peak>>,
}

/// The most that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peak {
    /// Towards one place.
    pub(super) one: u64,
    /// Towards all.
    pub(super) all: u64,
}

impl Descriptors {
    pub(super) fn watch(places: &[SocketAddr]) -> io::Result<Descriptors> {
        let (end, ended) = mpsc::channel();
        let places = places.iter().copied().collect();
        let thread = thread::Builder::new()
            .name("descriptors".to_owned())
            .spawn(move || {
                let mut peak = Peak::default();
                while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                    let (one, all) = look(&places)?;
                    (peak.one, peak.all) = (peak.one.max(one), peak.all.max(all));
                }
                Ok(peak)
            })?;
        Ok(Descriptors { end, thread })
    }

    pub(super) fn peak(self) -> io::Result<Peak> {
        drop(self.end);
        let told = self.thread.join();
        told.map_err(|_| io::Error::other("the thread that counts panicked"))?
    }
}

/// How many sockets are open, those of the place that has most, and all.
fn look(places: &HashSet<SocketAddr>) -> io::Result<(u64, u64)> {
    let (first, second) = (read(places)?, read(places)?);
    let mut counts = HashMap::<SocketAddr, u64>::new();
    let open = first.intersection(&second);
    open.for_each(|socket| *counts.entry(socket.place).or_default() += 1);
    let most = counts.values().copied().max().unwrap_or(0);
    Ok((most, counts.values().sum()))
}

#[derive(PartialEq, Eq, Hash)]
struct Socket {
    place: SocketAddr,
    inode: u64,
}

/// The sockets that lead to one of the places (proc_pid_net(5)). The kernel may list one more than once.
fn read(places: &HashSet<SocketAddr>) -> io::Result<HashSet<Socket>> {
    let table = fs::read_to_string("/proc/self/net/tcp")?;
    let sockets = table.lines().skip(1).filter_map(socket);
    let there = sockets.filter(|socket| places.contains(&socket.place));
    Ok(there.collect())
}

/// The socket of a line, if it has a descriptor and leads somewhere.
fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(2);
    let (address, port) = fields.next()?.split_once(':')?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let inode = fields.nth(5)?.parse().ok()?;
    // The four bytes as they lie in memory.
    let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    let place = SocketAddrV4::new(Ipv4Addr::from(address), port).into();
    (inode != 0 && state != LISTEN).then_some(Socket { place, inode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_has_a_descriptor_is_counted_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let place = listener.local_addr().expect("an address");
        let seen = || look(&HashSet::from([place])).expect("a table").0;
        assert_eq!(seen(), 0, "the listener leads nowhere");
        let connect = || TcpStream::connect(place).expect("it listens");
        let (first, second) = (connect(), connect());
        assert_eq!(seen(), 2);
        drop(first);
        assert_eq!(seen(), 1, "what waits for the peer's farewell is closed");
        drop(second);
        assert_eq!(seen(), 0);
    }
}
