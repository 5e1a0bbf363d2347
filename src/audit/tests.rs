//! What is told, written, and lost.

use super::*;
use crate::time::Time;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

fn told(connection: u64) -> Told {
    Told {
        at: Time::from_nanos(1_500_000_000),
        connection,
        shard: 1,
        upstream: "users".into(),
        endpoint: Some(
            "127.0.0.1:80"
                .parse::<std::net::SocketAddr>()
                .unwrap()
                .into(),
        ),
        action: AuditAction::Failed {
            dialled_for: DialCause::Demand,
            took: Duration::from_millis(250),
            error: "refused".into(),
        },
        missing: 0,
    }
}

/// A directory of this test's.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("ringpool-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_there_is_no_room_for_is_counted_and_said() {
    let (trail, clock) = (Trail::new(2), Clock::manual());
    for connection in 1..=5 {
        trail.tell(told(connection));
    }
    assert_eq!(trail.figures().dropped, 3);
    let seen = || {
        std::iter::from_fn(|| trail.take(&clock))
            .map(|event| (event.connection, event.missing_before))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(), [(1, 0), (2, 0)]);
    trail.tell(told(6));
    trail.tell(told(7));
    assert_eq!(seen(), [(6, 3), (7, 0)], "3, 4 and 5 came before it");
    assert_eq!(trail.figures().dropped, 3);
}

#[test]
fn every_event_is_recorded_before_the_writer_ends() {
    let (trail, (got, events)) = (Arc::new(Trail::new(1 << 14)), mpsc::channel());
    let sink = move |event: &AuditEvent| got.send(event.connection).unwrap();
    let writer = AuditWriter::start(trail.clone(), Clock::manual(), vec![Box::new(sink)]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let trail = &trail;
            scope.spawn(move || (0..1000).for_each(|n| trail.tell(told(1000 * thread + n))));
        }
    });
    drop(writer);
    let mut seen: Vec<u64> = events.iter().collect();
    for thread in 0..4 {
        let own = seen.iter().filter(|&&n| n / 1000 == thread);
        assert!(own.is_sorted(), "in the order of one who tells");
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..4000).collect::<Vec<_>>());
    assert_eq!(trail.figures().recorded, 4000);
}

#[test]
fn one_event_wakes_a_writer_that_sleeps() {
    let (trail, (got, events)) = (Arc::new(Trail::new(8)), mpsc::channel());
    let sink = move |event: &AuditEvent| got.send(event.connection).unwrap();
    let _writer = AuditWriter::start(trail.clone(), Clock::manual(), vec![Box::new(sink)]).unwrap();
    for connection in 1..200 {
        trail.tell(told(connection));
        let patience = Duration::from_secs(10);
        assert_eq!(events.recv_timeout(patience), Ok(connection));
    }
}

struct Full;

impl AuditSink for Full {
    fn record(&mut self, _event: &AuditEvent) -> io::Result<()> {
        Err(io::Error::other("no space left"))
    }
}

#[test]
fn a_sink_that_fails_is_told_of_and_keeps_nothing_from_the_others() {
    let (trail, (got, events)) = (Arc::new(Trail::new(8)), mpsc::channel());
    let sink = move |event: &AuditEvent| got.send(event.connection).unwrap();
    let sinks: Vec<Box<dyn AuditSink>> = vec![Box::new(Full), Box::new(sink)];
    let writer = AuditWriter::start(trail.clone(), Clock::manual(), sinks).unwrap();
    trail.tell(told(1));
    trail.tell(told(2));
    drop(writer);
    assert_eq!(events.iter().collect::<Vec<_>>(), [1, 2]);
    let figures = trail.figures();
    assert_eq!((figures.recorded, figures.failed), (2, 2));
    assert_eq!(figures.error.as_deref(), Some("no space left"));
}

#[test]
fn a_sink_that_panics_keeps_nothing_from_the_others() {
    let (trail, (got, events)) = (Arc::new(Trail::new(8)), mpsc::channel());
    let panics = |event: &AuditEvent| assert!(event.connection > 1, "the first");
    let sink = move |event: &AuditEvent| got.send(event.connection).unwrap();
    let sinks: Vec<Box<dyn AuditSink>> = vec![Box::new(panics), Box::new(sink)];
    let writer = AuditWriter::start(trail.clone(), Clock::manual(), sinks).unwrap();
    trail.tell(told(1));
    trail.tell(told(2));
    drop(writer);
    assert_eq!(events.iter().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(trail.figures().failed, 1);
}

#[test]
fn a_line_is_one_flat_object() {
    let (trail, clock) = (Trail::new(2), Clock::manual());
    trail.tell(told(7));
    let event = trail.take(&clock).unwrap();
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        "{\"at\":\"1970-01-01T00:00:01.500000Z\",\"connection\":7,\"shard\":1,\
         \"upstream\":\"users\",\"endpoint\":\"127.0.0.1:80\",\"event\":\"failed\",\
         \"dialled_for\":\"demand\",\"dial_seconds\":0.25,\"error\":\"refused\"}"
    );
}

#[test]
fn a_file_that_could_not_be_written_is_left_for_one_that_can() {
    let directory = Directory::new("audit-full");
    let path = directory.0.join("audit");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let (trail, clock) = (Trail::new(8), Clock::manual());
    let mut file = AuditFile::open(&path).unwrap();
    let mut record = |connection| {
        trail.tell(told(connection));
        file.record(&trail.take(&clock).unwrap())
            .and_then(|()| file.flush())
    };
    assert!(record(1).is_err());
    assert!(record(2).is_err());
    fs::remove_file(&path).unwrap();
    record(3).unwrap();
    record(4).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(serde_json::from_str::<serde_json::Value>);
    let numbers: Vec<_> = lines
        .map(|line| line.unwrap()["connection"].clone())
        .collect();
    assert_eq!(
        numbers,
        [3, 4],
        "whole lines, and none of those that failed"
    );
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let directory = Directory::new("audit-rotation");
    let (path, moved) = (directory.0.join("audit"), directory.0.join("audit.1"));
    let (trail, clock) = (Trail::new(8), Clock::manual());
    let mut file = AuditFile::open(&path).unwrap();
    let mut record = |connection| {
        trail.tell(told(connection));
        file.record(&trail.take(&clock).unwrap()).unwrap();
        file.flush().unwrap();
    };
    record(1);
    record(2);
    fs::rename(&path, &moved).unwrap();
    record(3);
    fs::remove_file(&path).unwrap();
    record(4);
    let numbers = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let line = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["connection"].as_u64()
        };
        text.lines().filter_map(line).collect::<Vec<_>>()
    };
    assert_eq!((numbers(&moved), numbers(&path)), (vec![1, 2], vec![4]));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn causes_stand_at_their_discriminants_and_are_named_as_in_json() {
    for (index, why) in CloseCause::ALL.into_iter().enumerate() {
        assert_eq!(why as usize, index);
        assert_eq!(serde_json::to_value(why).unwrap(), why.name());
    }
}
