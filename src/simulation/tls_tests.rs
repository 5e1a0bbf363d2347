//! TLS between the engine and a simulated server, where this machine fails in the middle of it.

use super::*;
use crate::client::body::Body;
use crate::config::{Config, TrustRoots, UpstreamConfig};
use crate::error::{Error, ErrorKind};
use bytes::Bytes;
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection};
use rustls_pki_types::PrivateKeyDer;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Speaks TLS and nothing above it.
struct Server {
    tls: ServerConnection,
    /// How much of its first flight it sends.
    keeps: usize,
    /// What it had against its client.
    complaints: Rc<RefCell<Vec<rustls::Error>>>,
}

impl Peer for Server {
    fn received(&mut self, mut bytes: &[u8], out: &mut Answers) {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).expect("there is room");
            let processed = self.tls.process_new_packets();
            self.complaints.borrow_mut().extend(processed.err());
        }
        let mut flight = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut flight).expect("there is room");
        }
        flight.truncate(self.keeps);
        out.send(flight);
    }
}

/// A network with one server, an engine that is to call it, and the server's complaints.
struct World {
    network: Network,
    engine: Engine,
    complaints: Rc<RefCell<Vec<rustls::Error>>>,
}

impl World {
    fn new(keeps: usize) -> World {
        let signed = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        let network = Network::new(1);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_details(provider, wall_clock(&network))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        let (config, complaints) = (Arc::new(config), Rc::new(RefCell::new(Vec::new())));
        let heard = complaints.clone();
        let address = SocketAddr::from(([192, 0, 2, 1], 443));
        network.set_names("a.test", vec![address]);
        network.listen(address.into(), move || {
            Box::new(Server {
                tls: ServerConnection::new(config.clone()).unwrap(),
                keeps,
                complaints: heard.clone(),
            })
        });
        let mut upstream = UpstreamConfig::at("https://a.test").unwrap();
        upstream.tls.roots = TrustRoots::Pem(signed.cert.pem());
        upstream.retry.attempts_max = 1;
        upstream.dial_timeout = Duration::from_secs(1);
        upstream.call_timeout = Duration::from_secs(1);
        let config = Config::with_upstream("a", upstream);
        let engine = Engine::new(config, 1, 1, &network).unwrap();
        World {
            network,
            engine,
            complaints,
        }
    }

    /// How a call ends if the driver sends nothing of what is due in the handshake, but for the
    /// ClientHello.
    fn call(&mut self) -> Result<http::Response<Bytes>, Error> {
        let request = http::Request::get("/").body(Body::empty()).unwrap();
        let mut call = self.engine.call(None, "a", request);
        loop {
            let mut look = Look::default();
            self.engine.look(0, &mut look);
            let mut states = look.connections.iter().map(|one| one.state);
            let handshaking = states.any(|state| state == "handshaking");
            let faults = Faults {
                submit_fails: if handshaking { 1024 } else { 0 },
                ..Faults::default()
            };
            self.engine.set_faults(0, faults);
            if let Some(ended) = call.poll() {
                return ended;
            }
            if !self.engine.step() {
                let next = self.engine.next_event().expect("a call ends");
                self.network.advance_to(next);
            }
        }
    }
}

/// What this machine could not do is not the peer's fault (simulator seed 214).
#[test]
fn a_send_that_fails_in_a_handshake_is_no_truncation() {
    let server_hello = 127;
    let mut world = World::new(server_hello);
    let error = world.call().expect_err("nothing is sent");
    assert_eq!(error.kind(), ErrorKind::Dial, "{error}");
    assert!(error.is_retryable());
    assert_eq!(world.engine.stop(), Vec::<String>::new());
}

/// Behind records that never left, a farewell cannot be deciphered: none is said (simulator seed 96).
#[test]
fn nothing_is_said_after_a_send_that_failed() {
    let mut world = World::new(usize::MAX);
    world.call().expect_err("nothing is sent");
    assert_eq!(world.engine.stop(), Vec::<String>::new());
    assert_eq!(*world.complaints.borrow(), []);
}
