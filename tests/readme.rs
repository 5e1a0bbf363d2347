//! The README's example is the one in `examples/`, and it works.

#[allow(dead_code)]
mod example {
    include!("../examples/readme.rs");

    pub(super) fn run(url: &str, path: &str) -> Result<String, Box<dyn Error>> {
        ringpool::block_on(fetch(url, path))
    }
}

use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn the_example_in_the_readme_is_the_one_that_is_compiled() {
    let readme = include_str!("../README.md");
    let example = include_str!("../examples/readme.rs");
    let begin = readme.find("```rust\n").expect("the README has an example") + "```rust\n".len();
    let length = readme[begin..].find("```").expect("the example ends");
    assert_eq!(&readme[begin..begin + length], example);
    assert!(
        example.lines().count() <= 27,
        "about 25 lines, so that it is read"
    );
}

#[test]
fn the_example_works() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Two warm connections; whichever is used gets one answer.
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok_and(|n| n > 0) {
                    assert!(request.starts_with(b"GET /v1/users/42 HTTP/1.1\r\n"));
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nAnna\n")
                        .unwrap();
                }
            });
        }
    });
    let body = example::run(&url, "/v1/users/42").unwrap();
    assert_eq!(body, "Anna\n");
    server.join().unwrap();
}
