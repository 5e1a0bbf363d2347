//! A peer that keeps to a script: it speaks HTTP/1.1, plain or over TLS, one small step of input or output at a
//! time, and stops between any two of them when its [`Script`] says so.
//!
//! Never: sleeps. It waits for the test, for the wire, or for nothing.

mod request;
mod script;
mod wire;

pub use request::pattern;
pub use script::Script;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A peer on a port of its own, with a thread for each connection. Dropping it ends them all.
pub struct Scripted {
    pub script: Arc<Script>,
    port: u16,
    /// The certificate to trust, where it speaks TLS.
    pem: Option<String>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    stopping: AtomicBool,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl Scripted {
    pub fn start(secure: bool) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of our own");
        let port = listener.local_addr().expect("it is bound").port();
        let (tls, pem) = match secure {
            true => {
                let (config, pem) = certified();
                (Some(Arc::new(config)), Some(pem))
            }
            false => (None, None),
        };
        let script = Arc::new(Script::default());
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
        });
        let accepting = thread::spawn({
            let (script, shared) = (script.clone(), shared.clone());
            move || accept(&listener, tls.as_ref(), &script, &shared)
        });
        Scripted {
            script,
            port,
            pem,
            shared,
            accepting: Some(accepting),
        }
    }

    pub fn is_secure(&self) -> bool {
        self.pem.is_some()
    }

    /// Settings of an upstream that is this peer.
    pub fn upstream(&self, raw: bool) -> ringpool::config::UpstreamConfig {
        use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
        let scheme = match (raw, self.is_secure()) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "tcp",
            (true, true) => "tls",
        };
        let url = format!("{scheme}://127.0.0.1:{}", self.port);
        let mut config = UpstreamConfig::at(&url).expect("a URL of ours");
        if let Some(pem) = &self.pem {
            config.tls = TlsConfig {
                roots: TrustRoots::Pem(pem.clone()),
                ..TlsConfig::default()
            };
        }
        config
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.script.free();
        // Ends the wait for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().expect("the peer accepts without panics");
        }
        let connections = std::mem::take(&mut *self.shared.connections.lock().unwrap());
        for (socket, thread) in connections {
            let _ = socket.shutdown(Shutdown::Both);
            drop(socket);
            let joined = thread.join();
            if !thread::panicking() {
                joined.expect("the peer keeps to its script without panics");
            }
        }
    }
}

fn certified() -> (ServerConfig, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_string()]).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("both versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()),
        )
        .expect("the key fits the certificate");
    (config, cert.pem())
}

fn accept(
    listener: &TcpListener,
    tls: Option<&Arc<ServerConfig>>,
    script: &Arc<Script>,
    shared: &Shared,
) {
    for socket in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(socket) = socket else { continue };
        // Small pieces leave as they are.
        socket.set_nodelay(true).expect("TCP_NODELAY");
        let ours = socket.try_clone().expect("a descriptor");
        let (tls, script) = (tls.cloned(), script.clone());
        // Deep stacks are not needed, and there may be hundreds.
        let thread = thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || {
                // A peer whose connection goes away in the middle has nothing to say about it.
                let _ = wire::converse(socket, tls, &script);
            })
            .expect("a thread");
        let mut connections = shared.connections.lock().unwrap();
        // Those that are over let go of their descriptors.
        let (over, open) = std::mem::take(&mut *connections)
            .into_iter()
            .partition(|(_, thread)| thread.is_finished());
        *connections = open;
        connections.push((ours, thread));
        drop(connections);
        let over: Vec<(TcpStream, JoinHandle<()>)> = over;
        for (_, thread) in over {
            thread
                .join()
                .expect("the peer keeps to its script without panics");
        }
    }
}
