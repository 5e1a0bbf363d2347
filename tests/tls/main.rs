//! TLS as it goes wrong, and as it goes right: against nginx, `openssl s_server`, and a peer in this
//! process that misbehaves on purpose.

#[path = "../common/mod.rs"]
mod common;

mod certificates;
mod client_certificates;
mod early;
mod floods;
mod handshakes;
mod haproxy;
mod leases;
mod ready;
mod records;
mod resumption;
mod s_server;
mod splitting;
mod truncation;
mod trust;
mod warm;

use bytes::Bytes;
use common::bounded::{engine, run, until};
use common::certificates::{Authority, Certificate, Validity};
use common::servers::nginx::Nginx;
use common::servers::openssl::OpensslServer;
use common::tls_peer::{Peer, TlsStream, config, config_of, read_head};
use http_body_util::BodyExt;
use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
use ringpool::on_shard::Head;
use ringpool::{Config, Engine, Error, ErrorKind, Phase, TlsFailure, Trip};
use rustls::ServerConfig;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An upstream that trusts `authority`.
fn backend(url: &str, authority: &Authority) -> UpstreamConfig {
    UpstreamConfig {
        tls: TlsConfig {
            roots: TrustRoots::Pem(authority.pem.clone()),
            ..TlsConfig::default()
        },
        ..UpstreamConfig::at(url).expect("a URL")
    }
}

async fn get(upstream: &ringpool::Upstream, path: &str) -> Result<Bytes, Error> {
    let request = http::Request::get(path).body(()).expect("a request");
    let response = upstream.call(request).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

/// What a call to this upstream fails with, from outside; the same has to come on the shard.
fn failure(mut backend: UpstreamConfig) -> Error {
    // Every caller is to meet the failure itself.
    backend.breaker.enabled = false;
    let engine = engine(1, backend);
    let upstream = engine.upstream("backend").unwrap();
    let error = run(get(&upstream, "/")).expect_err("it cannot succeed");
    let tasks = engine.spawn_on_each(|shard| async move {
        let upstream = shard.upstream("backend").unwrap();
        upstream.exchange(Head::get("/")).await.map(drop)
    });
    for ended in run(tasks) {
        let on_shard = ended.unwrap().expect_err("it cannot succeed");
        assert_eq!(on_shard.kind(), error.kind());
    }
    let text = error.to_string();
    assert!(
        text.starts_with("backend: ") && !text.contains('\n'),
        "{text}"
    );
    assert!(text.contains("127.0.0.1:"), "it says where: {text}");
    until(&engine, "nothing left", |seen| {
        seen.now.sockets == 0 && seen.now.waiters == 0
    });
    error
}

/// nginx with this certificate.
fn nginx(certificate: &Certificate, directives: &str) -> Option<Nginx> {
    let server = format!(
        "listen PORT ssl; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem; \
         {directives}"
    );
    let files = [
        ("cert.pem", certificate.pem.as_bytes()),
        ("key.pem", certificate.key_pem.as_bytes()),
    ];
    Nginx::start_with(&server, &files)
}

/// nginx that answers with what it knows of the TLS: version, ALPN, server name, resumed or not (`r`
/// or `.`).
fn telling_nginx(directives: &str) -> Option<(Nginx, Authority)> {
    let authority = Authority::new();
    let tells = "location / { return 200 \
         \"$ssl_protocol $ssl_alpn_protocol $ssl_server_name $ssl_session_reused\"; }";
    let nginx = nginx(&authority.sign(), &format!("{directives} {tells}"))?;
    Some((nginx, authority))
}

/// Status and body of one call.
fn told(engine: &Engine) -> (u16, String) {
    run(async {
        let upstream = engine.upstream("backend").unwrap();
        let request = http::Request::get("/").body(()).unwrap();
        let response = upstream.call(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("a body");
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        (status, body)
    })
}

/// Ends a load, also of a test that fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
