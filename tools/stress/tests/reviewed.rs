//! `stress review` of real runs: what the engine counted leads to the right advice.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use common::{json, run, words};

/// A server that ends the connection with each answer. It ends with the process.
fn closing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // Whoever warms up connects and asks nothing yet.
            thread::spawn(move || {
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|bytes| bytes > 0) {
                    let answer =
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
    address
}

#[test]
fn a_server_that_says_connection_close_is_found_out() {
    let file = std::env::temp_dir().join(format!("stress-reviewed-{}", std::process::id()));
    let output = run(&format!(
        "run http://{}/ --connections 4 --rate 200 --duration 1s --warmup 0s --json {}",
        closing(),
        file.display()
    ));
    assert!(file.exists(), "{}", words(&output));
    let review = run(&format!("review {} --json", file.display()));
    std::fs::remove_file(&file).expect("it is there");
    let told = json(&review);
    let advice = told["advice"].as_array().expect("advice");
    let churn = advice.iter().find(|one| one["rule"] == "churn");
    let churn = churn.unwrap_or_else(|| panic!("{told}"));
    let says = churn["says"].as_str().unwrap_or_default();
    assert!(says.contains("Connection: close"), "{churn}");
}
