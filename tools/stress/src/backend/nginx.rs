//! nginx as a child, which lets in only whom an authority has signed for and writes a line for each request.
//!
//! A shell stands between: nginx ends when that one's standard input closes, so that no orphan is left, however
//! this process ends.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::certificates::{Certificates, ClientAuthority};
use crate::failure::Failure;

/// How long it may take to come up, and to end.
const WITHIN: Duration = Duration::from_secs(10);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Runs nginx until it ends, or standard input does.
const SCRIPT: &str = r#"exec 3<&0
nginx "$@" 3<&- &
nginx=$!
(read -r _ <&3; kill "$nginx" 2>/dev/null) &
wait "$nginx""#;

/// A running nginx; it and its files are gone when this drops.
#[derive(Debug)]
pub(crate) struct Nginx {
    /// Where it speaks TLS.
    pub(crate) tls: SocketAddr,
    /// The authority to trust, in PEM.
    pub(crate) ca: Vec<u8>,
    shell: Child,
    directory: Directory,
}

/// One request, as nginx wrote it down at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Logged {
    /// When, from the epoch.
    pub(crate) at: Duration,
    /// The serial number of the certificate that the client had shown.
    pub(crate) serial: u64,
    /// How long the connection had been open.
    pub(crate) age: Duration,
    /// Which connection.
    pub(crate) connection: u64,
}

impl Nginx {
    /// Starts it for clients of `clients`, and waits until it is ready.
    pub(crate) fn spawn(clients: &ClientAuthority) -> Result<Self, Failure> {
        let tried = Command::new("nginx")
            .arg("-v")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if let Err(error) = tried {
            return Err(Failure::Machine {
                cause: format!("this scenario needs nginx, which cannot be started: {error}"),
                remedy: "install it, on Debian with `apt-get install nginx`".to_owned(),
            });
        }
        let broken = |e: io::Error| Failure::Run(format!("cannot start nginx: {e}"));
        let directory = Directory::new().map_err(broken)?;
        let tls = free_address().map_err(broken)?;
        let certificates = Certificates::generate(tls.ip())?;
        let configuration = configuration(&directory.0, tls);
        for (name, content) in [
            ("server.pem", &certificates.certificate_pem),
            ("server.key", &certificates.key_pem),
            ("clients.pem", &clients.pem),
            ("nginx.conf", &configuration),
        ] {
            fs::write(directory.0.join(name), content).map_err(broken)?;
        }
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh", "-p"])
            .arg(&directory.0)
            .arg("-e")
            .arg(directory.0.join("errors"))
            .arg("-c")
            .arg(directory.0.join("nginx.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // It says there what it has written to its file as well.
            .stderr(Stdio::null())
            // A terminal's Ctrl-C goes to the whole group, and the run still needs it.
            .process_group(0)
            .spawn()
            .map_err(broken)?;
        let mut nginx = Self {
            tls,
            ca: certificates.authority_pem.into_bytes(),
            shell,
            directory,
        };
        nginx.wait_until_ready()?;
        Ok(nginx)
    }

    /// A directory for files of the run's own, gone with it.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory.0
    }

    /// Ends it, and returns what it has written down.
    pub(crate) fn end(mut self) -> Result<Vec<Logged>, Failure> {
        self.check()?;
        self.stop();
        let log = fs::read_to_string(self.directory.0.join("requests"))
            .map_err(|e| Failure::Run(format!("cannot read nginx's log: {e}")))?;
        log.lines()
            .map(|line| {
                parse(line).ok_or_else(|| Failure::Run(format!("nginx has written `{line}`")))
            })
            .collect()
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        // It writes that file when its socket is bound: a connection alone could be to somebody else.
        while !self.directory.0.join("pid").exists() || TcpStream::connect(self.tls).is_err() {
            self.check()?;
            if begun.elapsed() > WITHIN {
                return Err(Failure::Run(format!(
                    "nginx was not ready within {}: {}",
                    humantime::format_duration(WITHIN),
                    self.errors()
                )));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Failure> {
        match self.shell.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::Run(format!(
                "nginx has ended ({status}): {}",
                self.errors()
            ))),
            Err(e) => Err(Failure::Run(format!("cannot ask after nginx: {e}"))),
        }
    }

    fn errors(&self) -> String {
        let said = fs::read_to_string(self.directory.0.join("errors")).unwrap_or_default();
        said.lines().last().unwrap_or("no reason given").to_owned()
    }

    /// Closes the shell's standard input, and waits for what that ends.
    fn stop(&mut self) {
        drop(self.shell.stdin.take());
        let begun = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) {
            if begun.elapsed() > WITHIN {
                // nginx is left behind, and somebody has to know.
                eprintln!(
                    "stress: nginx does not end; its files are in {:?}",
                    self.directory
                );
                let _ = self.shell.kill();
                let _ = self.shell.wait();
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One process, so that there is one to end. Lines are written at once, without a buffer.
fn configuration(directory: &Path, tls: SocketAddr) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path DIR/{what};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid DIR/pid;\nerror_log DIR/errors;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n{temporary}log_format shown '$msec $ssl_client_serial $connection_time $connection';\n\
         access_log DIR/requests shown;\nkeepalive_requests 1000000;\n\
         server {{\nlisten {tls} ssl;\nssl_certificate DIR/server.pem;\nssl_certificate_key DIR/server.key;\n\
         ssl_client_certificate DIR/clients.pem;\nssl_verify_client on;\n\
         location / {{ return 204; }}\n}}\n}}\n"
    )
    .replace("DIR", &directory.display().to_string())
}

fn parse(line: &str) -> Option<Logged> {
    let mut words = line.split(' ');
    let at = time(words.next()?)?;
    let serial = u64::from_str_radix(words.next()?, 16).ok()?;
    let age = time(words.next()?)?;
    let connection = words.next()?.parse().ok()?;
    Some(Logged {
        at,
        serial,
        age,
        connection,
    })
}

/// Seconds with three decimals.
fn time(text: &str) -> Option<Duration> {
    let (seconds, millis) = text.split_once('.')?;
    let whole = Duration::from_secs(seconds.parse().ok()?);
    (millis.len() == 3).then_some(whole + Duration::from_millis(millis.parse().ok()?))
}

/// A port of the loopback address that nobody has just now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// A directory that is gone with this.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stress-nginx-{}-{nth}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // One that stays does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_understood_or_refused() {
        let logged = parse("1795762459.720 1F 0.250 7").unwrap();
        assert_eq!(logged.at, Duration::from_millis(1_795_762_459_720));
        assert_eq!((logged.serial, logged.connection), (31, 7));
        assert_eq!(logged.age, Duration::from_millis(250));
        // Whoever shows no certificate has no serial number.
        for bad in [
            "",
            "1795762459.720 - 0.250 7",
            "1.000 2 0.000",
            "1.5 2 0.000 3",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
