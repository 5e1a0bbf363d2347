//! Certificates of our own: shown to servers that ask, and replaced while calls are under way.

use super::*;
use ringpool::config::{ClientCertificate, Pem};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::thread;

/// nginx that lets in only whom `clients` has signed for, and answers with the serial number it was shown and whether
/// the session was resumed (`r` or `.`).
fn asking_nginx(authority: &Authority, clients: &Authority) -> Option<Nginx> {
    let certificate = authority.sign();
    let server = "listen PORT ssl; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem; \
                  ssl_client_certificate DIR/clients.pem; ssl_verify_client on; keepalive_requests 1000000; \
                  location / { return 200 \"$ssl_client_serial $ssl_session_reused\"; }";
    let files = [
        ("cert.pem", certificate.pem.as_bytes()),
        ("key.pem", certificate.key_pem.as_bytes()),
        ("clients.pem", clients.pem.as_bytes()),
    ];
    Nginx::start_with(server, &files)
}

pub(super) fn inline(certificate: &Certificate) -> ClientCertificate {
    ClientCertificate {
        chain: Pem::Pem(certificate.pem.clone()),
        key: Pem::Pem(certificate.key_pem.clone()),
    }
}

fn showing(
    nginx: &Nginx,
    authority: &Authority,
    certificate: Option<ClientCertificate>,
) -> UpstreamConfig {
    let mut upstream = backend(&nginx.url("https"), authority);
    upstream.tls.client_certificate = certificate;
    upstream
}

/// How servers write a serial number.
pub(super) fn serial(body: &str) -> u64 {
    let word = body.split(' ').next().unwrap_or_default();
    u64::from_str_radix(word, 16).unwrap_or_else(|_| panic!("no serial number in {body:?}"))
}

#[test]
fn a_server_that_asks_is_shown_the_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let Some(nginx) = asking_nginx(&authority, &clients) else {
        return;
    };
    let own = inline(&clients.sign_client(0x1234));
    let engine = engine(1, showing(&nginx, &authority, Some(own)));
    assert_eq!(told(&engine), (200, "1234 .".to_owned()));
}

#[test]
fn without_one_or_with_a_strangers_the_server_refuses() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let Some(nginx) = asking_nginx(&authority, &clients) else {
        return;
    };
    let strangers = inline(&Authority::new().sign_client(1));
    for certificate in [None, Some(strangers)] {
        let engine = engine(1, showing(&nginx, &authority, certificate));
        assert_eq!(told(&engine).0, 400, "nginx answers so, over TLS");
    }
}

/// An engine's refusal to start with these files.
fn refusal(chain: &Path, key: &Path) -> String {
    let mut upstream = UpstreamConfig::at("https://backend.test").unwrap();
    upstream.tls.client_certificate = Some(ClientCertificate {
        chain: Pem::PemFile(chain.into()),
        key: Pem::PemFile(key.into()),
    });
    let error = Engine::start(Config::with_upstream("backend", upstream)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

/// A directory of this test's.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let path = std::env::temp_dir().join(format!("ringpool-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Files(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a certificate and its key in place, each at once; and both in one file.
    fn put(&self, certificate: &Certificate) {
        let both = format!("{}{}", certificate.pem, certificate.key_pem);
        for (name, text) in [
            ("chain.pem", &certificate.pem),
            ("key.pem", &certificate.key_pem),
            ("both.pem", &both),
        ] {
            fs::write(self.at("new"), text).unwrap();
            fs::rename(self.at("new"), self.at(name)).unwrap();
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A directory that stays does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_cannot_be_shown_is_refused_at_the_start() {
    let files = Files::new("unusable");
    let clients = Authority::new();
    let (own, other) = (clients.sign_client(1), clients.sign_client(2));
    files.put(&own);
    let (chain, key) = (files.at("chain.pem"), files.at("key.pem"));
    let missing = refusal(&chain, &files.at("none.pem"));
    assert!(missing.contains("none.pem"), "{missing}");
    let none = refusal(&chain, &chain);
    assert!(none.contains("no private key"), "{none}");
    fs::write(&key, &other.key_pem).unwrap();
    let foreign = refusal(&chain, &key);
    assert!(
        foreign.contains("the key is not the certificate's"),
        "{foreign}"
    );
    assert!(foreign.starts_with("backend: "), "{foreign}");
}

/// Twenty certificates, one after the other, under load: no call fails, each is seen by the server as soon as it is in
/// force, and none of the ones before it is shown once their time to drain is over.
#[test]
fn a_certificate_is_replaced_under_load() {
    const ROTATIONS: u64 = 20;
    const DRAIN: Duration = Duration::from_millis(100);
    let (authority, clients) = (Authority::new(), Authority::new());
    let Some(nginx) = asking_nginx(&authority, &clients) else {
        return;
    };
    let files = Files::new("rotated");
    files.put(&clients.sign_client(1));
    let certificate = ClientCertificate {
        chain: Pem::PemFile(files.at("chain.pem")),
        key: Pem::PemFile(files.at("key.pem")),
    };
    let mut upstream = showing(&nginx, &authority, Some(certificate));
    upstream.connections_max = 8;
    upstream.drain_timeout = DRAIN;
    let engine = engine(2, upstream);
    let (over, calls, newest) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let (status, body) = told(&engine);
                    assert_eq!(status, 200, "{body}");
                    newest.fetch_max(serial(&body), Ordering::Relaxed);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let end = End(&over);
        for nth in 2..=ROTATIONS {
            files.put(&clients.sign_client(nth));
            run(engine.reload("backend")).expect("it is good");
            until(&engine, "the new one is shown", |_| {
                newest.load(Ordering::Relaxed) == nth
            });
        }
        drop(end);
    });
    assert!(calls.load(Ordering::Relaxed) >= ROTATIONS);
    // Those made for the one before have their time, and no more.
    until(&engine, "the old ones are gone", |seen| {
        seen.upstreams["backend"].leased == 0 && told(&engine).1.starts_with("14 ")
    });
    let kept = run(engine.snapshot()).unwrap();
    assert_eq!(kept.upstreams["backend"].waiters, 0);
}

#[test]
fn once_the_time_to_drain_is_over_only_the_new_one_is_shown() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let Some(nginx) = asking_nginx(&authority, &clients) else {
        return;
    };
    let mut upstream = showing(&nginx, &authority, Some(inline(&clients.sign_client(1))));
    upstream.idle_min = 4;
    upstream.drain_timeout = Duration::from_millis(50);
    let engine = engine(1, upstream.clone());
    run(engine.ready(Duration::from_secs(5))).unwrap();
    let opened = |engine: &Engine| run(engine.snapshot()).unwrap().connections_opened;
    assert_eq!((opened(&engine), serial(&told(&engine).1)), (4, 1));
    upstream.tls.client_certificate = Some(inline(&clients.sign_client(2)));
    run(engine.reconfigure("backend", upstream)).unwrap();
    until(&engine, "all are replaced", |seen| {
        seen.connections_opened == 8 && seen.upstreams["backend"].idle == 4
    });
    let shown: BTreeSet<u64> = (0..8).map(|_| serial(&told(&engine).1)).collect();
    assert_eq!(shown, BTreeSet::from([2]));
    // Tickets of the old one would have shown it: nothing was resumed with them.
    assert_eq!(run(engine.snapshot()).unwrap().connections_opened, 8);
}

#[test]
fn a_broken_file_leaves_the_old_certificate_in_force() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let Some(nginx) = asking_nginx(&authority, &clients) else {
        return;
    };
    let files = Files::new("broken");
    files.put(&clients.sign_client(7));
    let certificate = ClientCertificate {
        chain: Pem::PemFile(files.at("chain.pem")),
        key: Pem::PemFile(files.at("key.pem")),
    };
    let mut upstream = showing(&nginx, &authority, Some(certificate));
    upstream.drain_timeout = Duration::from_millis(50);
    let engine = engine(1, upstream);
    assert_eq!(serial(&told(&engine).1), 7);
    fs::write(files.at("chain.pem"), "half of a certi").unwrap();
    let error = run(engine.reload("backend")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("client certificate unusable"),
        "{error}"
    );
    assert_eq!(serial(&told(&engine).1), 7);
    let opened = run(engine.snapshot()).unwrap().connections_opened;
    assert_eq!(opened, 1, "nothing was replaced");
    files.put(&clients.sign_client(8));
    run(engine.reload("backend")).unwrap();
    until(&engine, "the new one is shown", |_| {
        serial(&told(&engine).1) == 8
    });
}

/// As [`showing`], with a file that is looked at all the time.
fn watching(nginx: &Nginx, authority: &Authority, files: &Files) -> Engine {
    let certificate = ClientCertificate {
        chain: Pem::PemFile(files.at("both.pem")),
        key: Pem::PemFile(files.at("both.pem")),
    };
    let mut upstream = showing(nginx, authority, Some(certificate));
    upstream.drain_timeout = Duration::from_millis(50);
    let config = Config::with_upstream("backend", upstream);
    Engine::start(Config {
        shards: 1,
        reload_interval: Some(Duration::from_millis(20)),
        ..config
    })
    .unwrap()
}

#[test]
fn files_that_change_are_read_anew() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let Some(nginx) = asking_nginx(&authority, &clients) else {
        return;
    };
    let files = Files::new("watched");
    files.put(&clients.sign_client(1));
    let engine = watching(&nginx, &authority, &files);
    for nth in 2..5 {
        assert_eq!(serial(&told(&engine).1), nth - 1);
        files.put(&clients.sign_client(nth));
        until(&engine, "the new one is shown", |_| {
            serial(&told(&engine).1) == nth
        });
    }
    let seen = run(engine.snapshot()).unwrap();
    let backend = &seen.upstreams["backend"];
    assert_eq!((backend.reloads, backend.reloads_failed), (3, 0));
}

#[test]
fn a_file_that_changes_to_nothing_of_use_is_told_of() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let Some(nginx) = asking_nginx(&authority, &clients) else {
        return;
    };
    let files = Files::new("spoiled");
    files.put(&clients.sign_client(1));
    let engine = watching(&nginx, &authority, &files);
    fs::remove_file(files.at("both.pem")).unwrap();
    until(&engine, "it is told", |seen| {
        let why = seen.reload_errors.get("backend");
        why.is_some_and(|why| why.contains("both.pem"))
    });
    assert_eq!(serial(&told(&engine).1), 1, "the old one is in force");
    files.put(&clients.sign_client(2));
    until(&engine, "all is well again", |seen| {
        seen.reload_errors.is_empty() && seen.upstreams["backend"].reloads == 1
    });
    assert_eq!(
        run(engine.snapshot()).unwrap().upstreams["backend"].reloads_failed,
        1
    );
}
