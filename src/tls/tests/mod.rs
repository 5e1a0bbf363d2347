//! A session against rustls' server, in memory.

mod bytes;
mod early;
mod handshake;
mod resumption;
mod trust;

use super::{ClientTls, Identity, Roots, Session, TicketStore, TlsError, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

/// The serial number of every server's certificate.
const SERIAL: u64 = 7;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate authority of its own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        Authority::named("first")
    }

    fn named(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        Authority(issuer.unwrap())
    }

    fn roots(&self) -> Roots {
        Roots::Pem(self.0.pem().into_bytes().into())
    }

    /// A server for a.test, b.test and 192.0.2.1.
    fn server(&self) -> ServerConfig {
        self.server_with(rustls::ALL_VERSIONS, (2000, 4000))
    }

    fn server_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        validity: (i32, i32),
    ) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        self.server_of(&key, versions, validity)
    }

    fn server_of(
        &self,
        key: &KeyPair,
        versions: &[&'static SupportedProtocolVersion],
        (from, until): (i32, i32),
    ) -> ServerConfig {
        let names = ["a.test", "b.test", "192.0.2.1"].map(String::from);
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.serial_number = Some(SERIAL.into());
        let certificate = params.signed_by(key, &self.0).unwrap();
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap()
    }

    fn identity(&self) -> Identity {
        Identity {
            server_name: "a.test".into(),
            alpn: vec![b"http/1.1".to_vec()],
            trust: self.roots().into(),
            credentials: None,
            resumption: Some(DAY),
            early_data: false,
            key_log: false,
        }
    }
}

/// A client and a server, and what each has received so far.
struct Pair {
    client: Session,
    server: ServerConnection,
    at_client: Vec<u8>,
    at_server: Vec<u8>,
}

impl Pair {
    fn new(client: &ClientTls, server: &Arc<ServerConfig>) -> Pair {
        Pair {
            client: Session::new(client).unwrap(),
            server: ServerConnection::new(server.clone()).unwrap(),
            at_client: Vec::new(),
            at_server: Vec::new(),
        }
    }

    /// A pair that trusts each other, before its handshake.
    fn fresh(versions: &[&'static SupportedProtocolVersion]) -> Pair {
        let authority = Authority::new();
        let client = ClientTls::new(authority.identity(), &TicketStore::new()).unwrap();
        Pair::new(
            &client,
            &authority.server_with(versions, (2000, 4000)).into(),
        )
    }

    /// The same after its handshake.
    fn connected(versions: &[&'static SupportedProtocolVersion]) -> Pair {
        let mut pair = Pair::fresh(versions);
        pair.settle().unwrap();
        assert!(!pair.client.is_handshaking());
        pair
    }

    /// Moves bytes until nobody has any to send, or the client fails.
    fn settle(&mut self) -> Result<(), TlsError> {
        loop {
            let mut up = Vec::new();
            self.client.output(&mut up);
            assert!(!self.client.wants_output());
            self.give_server(&up);
            let down = self.take_from_server();
            if up.is_empty() && down.is_empty() {
                return Ok(());
            }
            self.client.receive(&down, &mut self.at_client)?;
        }
    }

    /// Gives the server these bytes. What it has against them, it says by an alert.
    fn give_server(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.server.read_tls(&mut bytes).unwrap();
            let failed = self.server.process_new_packets().is_err();
            let mut reader = self.server.reader();
            while let Ok(chunk) = reader.fill_buf()
                && !chunk.is_empty()
            {
                self.at_server.extend_from_slice(chunk);
                let taken = chunk.len();
                reader.consume(taken);
            }
            if failed {
                return;
            }
        }
    }

    /// What the server has to send.
    fn take_from_server(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// What the server sends when it says `plain`.
    fn said_by_server(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in plain.chunks(16 * 1024) {
            self.server.writer().write_all(piece).unwrap();
            bytes.extend(self.take_from_server());
        }
        bytes
    }

    fn say_to_server(&mut self, plain: &[u8]) {
        let mut bytes = Vec::new();
        self.client.encrypt(plain, &mut bytes).unwrap();
        self.give_server(&bytes);
    }
}
