//! A TLS server in the test's own process (rustls), whose misbehaviour the test writes itself.

use super::bounded::PATIENCE;
use super::certificates::Certificate;
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// One TLS connection, as the server sees it.
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// A listener that runs a script for each connection, on a thread of its own.
pub struct Peer {
    pub address: SocketAddr,
    over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Peer {
    /// Runs `script` on each raw connection.
    pub fn tcp(script: impl Fn(TcpStream) + Clone + Send + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let stream = stream.expect("accepted");
                // A script that waits for what never comes ends all the same.
                stream.set_read_timeout(Some(PATIENCE)).expect("set");
                stream.set_nodelay(true).expect("set");
                let script = script.clone();
                thread::spawn(move || script(stream));
            }
        });
        Peer {
            address,
            over,
            acceptor: Some(acceptor),
        }
    }

    /// Runs `script` on each connection, behind TLS. The handshake happens with the first read.
    pub fn tls(
        config: Arc<ServerConfig>,
        script: impl Fn(TlsStream) + Clone + Send + 'static,
    ) -> Peer {
        Peer::tcp(move |stream| {
            let connection = ServerConnection::new(config.clone()).expect("a session");
            script(StreamOwned::new(connection, stream));
        })
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Only to end the accept.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// TLS 1.3 and 1.2, `http/1.1` by ALPN, tickets.
pub fn config(certificate: &Certificate) -> ServerConfig {
    config_of(certificate, rustls::DEFAULT_VERSIONS)
}

/// As [`config`], with these versions of TLS alone.
pub fn config_of(
    certificate: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let mut config = without_ticketer(certificate, versions);
    config.ticketer = aws_lc_rs::Ticketer::new().expect("a ticketer");
    config
}

/// As [`config`], TLS 1.3 alone, and so much is taken early.
pub fn config_taking_early(certificate: &Certificate, max: u32) -> ServerConfig {
    // rustls takes early data with sessions that it remembers itself, since each may come once.
    let mut config = without_ticketer(certificate, &[&rustls::version::TLS13]);
    config.max_early_data_size = max;
    config
}

fn without_ticketer(
    certificate: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let chain = CertificateDer::pem_slice_iter(certificate.pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).expect("PEM");
    let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a key that fits");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Reads a request's head; `None` if the client closed before it.
pub fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => return None,
        }
    }
    String::from_utf8(head).ok()
}
