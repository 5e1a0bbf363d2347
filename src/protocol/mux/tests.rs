//! Frames, cut anywhere, and everything that is wrong with them.

use super::*;
use proptest::prelude::*;

/// What was said, with a stream's bytes put together again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Bytes(u32, Vec<u8>, bool),
    Other(Event),
}

/// Steps through `pieces` to the end of each.
fn take(
    mut step: impl FnMut(&[u8]) -> Result<Step, MuxError>,
    pieces: &[&[u8]],
) -> Result<Vec<Said>, MuxError> {
    let mut said: Vec<Said> = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let found = step(rest)?;
            assert!(found.consumed > 0, "a step that takes nothing never ends");
            match found.event {
                Some(Event::Data {
                    stream,
                    bytes,
                    last,
                }) => {
                    let bytes = &rest[bytes];
                    match said.last_mut() {
                        Some(Said::Bytes(before, all, end)) if *before == stream && !*end => {
                            all.extend_from_slice(bytes);
                            *end = last;
                        }
                        Some(_) | None => said.push(Said::Bytes(stream, bytes.to_vec(), last)),
                    }
                }
                Some(event) => said.push(Said::Other(event)),
                None => {}
            }
            rest = &rest[found.consumed..];
        }
    }
    Ok(said)
}

fn decoded(pieces: &[&[u8]]) -> Result<Vec<Said>, MuxError> {
    let mut decoder = Decoder::default();
    take(|input| decoder.step(input), pieces)
}

fn one_of_each() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, 0, Kind::Limit, &7u32.to_be_bytes());
    encode(&mut bytes, 1, Kind::Data, b"hello, ");
    encode(&mut bytes, 1, Kind::End, b"world");
    encode(&mut bytes, 0, Kind::Ping, b"12345678");
    encode(&mut bytes, 2, Kind::End, b"");
    encode(&mut bytes, 3, Kind::Reset, &REFUSED.to_be_bytes());
    encode(&mut bytes, 0, Kind::Pong, b"abcdefgh");
    encode(&mut bytes, 0, Kind::GoAway, &3u32.to_be_bytes());
    bytes
}

#[test]
fn cut_at_any_byte_it_says_the_same() {
    let bytes = one_of_each();
    let whole = decoded(&[&bytes]).unwrap();
    assert_eq!(
        whole,
        [
            Said::Other(Event::Limit(7)),
            Said::Bytes(1, b"hello, world".to_vec(), true),
            Said::Other(Event::Ping(*b"12345678")),
            Said::Bytes(2, Vec::new(), true),
            Said::Other(Event::Reset {
                stream: 3,
                code: REFUSED
            }),
            Said::Other(Event::Pong(*b"abcdefgh")),
            Said::Other(Event::GoAway(3)),
        ]
    );
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(decoded(&pieces).unwrap(), whole, "at {first} and {second}");
        }
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decoded(&single).unwrap(), whole);
}

#[test]
fn it_is_known_whether_a_frame_was_cut_short() {
    let mut frame = Vec::new();
    encode(&mut frame, 1, Kind::End, b"abc");
    for len in 0..=frame.len() {
        let mut decoder = Decoder::default();
        take(|input| decoder.step(input), &[&frame[..len]]).unwrap();
        let whole = len == 0 || len == frame.len();
        assert_eq!(decoder.is_between_frames(), whole, "after {len} bytes");
    }
}

#[test]
fn a_frame_may_be_as_long_as_its_length_says() {
    let longest = vec![b'x'; PAYLOAD_MAX];
    let mut bytes = Vec::new();
    encode(&mut bytes, 1, Kind::End, &longest);
    encode(&mut bytes, 2, Kind::End, b"y");
    let said = decoded(&[&bytes]).unwrap();
    assert_eq!(
        said,
        [
            Said::Bytes(1, longest, true),
            Said::Bytes(2, b"y".to_vec(), true)
        ]
    );
}

fn header(stream: u32, kind: u8, length: u16) -> Vec<u8> {
    let mut bytes = stream.to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

#[test]
fn what_is_no_frame_is_refused() {
    for (bytes, error) in [
        (header(1, 7, 0), MuxError::Kind(7)),
        (header(1, 255, 0), MuxError::Kind(255)),
        (header(1, 0, 0), MuxError::Length(Kind::Data, 0)),
        (header(1, 2, 3), MuxError::Length(Kind::Reset, 3)),
        (header(0, 3, 8), MuxError::Length(Kind::Limit, 8)),
        (header(0, 4, 0), MuxError::Length(Kind::GoAway, 0)),
        (header(0, 5, 9), MuxError::Length(Kind::Ping, 9)),
        (header(0, 6, 65535), MuxError::Length(Kind::Pong, 65535)),
        (header(0, 0, 1), MuxError::Place(Kind::Data, 0)),
        (header(0, 1, 0), MuxError::Place(Kind::End, 0)),
        (header(0, 2, 4), MuxError::Place(Kind::Reset, 0)),
        (header(9, 3, 4), MuxError::Place(Kind::Limit, 9)),
        (header(9, 4, 4), MuxError::Place(Kind::GoAway, 9)),
        (header(9, 5, 8), MuxError::Place(Kind::Ping, 9)),
    ] {
        assert_eq!(decoded(&[&bytes]), Err(error));
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_server_keeps_to_streams_that_were_opened() {
    let mut frames = Vec::new();
    encode(&mut frames, 2, Kind::Data, b"x");
    encode(&mut frames, 1, Kind::End, b"");
    let mut session = opened(2);
    assert!(take(|input| session.step(input), &[&frames]).is_ok());
    let reset = CANCELLED.to_be_bytes();
    for (kind, payload) in [
        (Kind::Data, &b"x"[..]),
        (Kind::End, b""),
        (Kind::Reset, &reset),
    ] {
        frames.clear();
        encode(&mut frames, 3, kind, payload);
        let mut session = opened(2);
        let result = take(|input| session.step(input), &[&frames]);
        assert_eq!(result, Err(MuxError::Unopened(3)));
        let mut session = opened(3);
        assert!(take(|input| session.step(input), &[&frames]).is_ok());
    }
}

fn opened(streams: u32) -> Session {
    let mut session = Session::default();
    for id in 1..=streams {
        assert_eq!(session.open(), Some(id));
    }
    session
}

#[test]
fn the_last_stream_may_fall_and_never_rise() {
    let mut session = opened(9);
    let mut frames = Vec::new();
    for last in [u32::MAX, 7, 7, 0] {
        frames.clear();
        encode(&mut frames, 0, Kind::GoAway, &u32::to_be_bytes(last));
        assert!(take(|input| session.step(input), &[&frames]).is_ok());
        assert_eq!(session.open(), None, "a server that goes gets no more");
    }
    frames.clear();
    encode(&mut frames, 0, Kind::GoAway, &1u32.to_be_bytes());
    let result = take(|input| session.step(input), &[&frames]);
    assert_eq!(result, Err(MuxError::GoAwayRose(1)));
}

#[test]
fn pings_are_answered_and_a_flood_of_them_is_not() {
    let mut session = Session::default();
    let mut ping = Vec::new();
    encode(&mut ping, 0, Kind::Ping, b"abcdefgh");
    for _ in 0..100 {
        take(|input| session.step(input), &[&ping]).unwrap();
        assert!(session.has_pongs());
        let mut out = Vec::new();
        session.write_pongs(&mut out);
        let pong = Said::Other(Event::Pong(*b"abcdefgh"));
        assert_eq!(decoded(&[&out]).unwrap(), [pong]);
    }
    let flood = ping.repeat(17);
    let result = take(|input| session.step(input), &[&flood]);
    assert_eq!(result, Err(MuxError::PingFlood));
    assert!(MuxError::PingFlood.is_limit() && !MuxError::Unasked.is_limit());
    ping[4] = 6;
    let mut session = Session::default();
    let result = take(|input| session.step(input), &[&ping]);
    assert_eq!(result, Err(MuxError::Unasked));
}

#[test]
fn ids_run_out() {
    let mut session = opened(3);
    session.exhaust();
    assert_eq!(session.open(), Some(u32::MAX));
    assert_eq!(session.open(), None);
}

fn frame() -> impl Strategy<Value = (u32, Kind, Vec<u8>)> {
    let bytes = |len| prop::collection::vec(any::<u8>(), len);
    prop_oneof![
        (1u32.., Just(Kind::Data), bytes(1..40usize)),
        (1u32.., Just(Kind::End), bytes(0..40usize)),
        (1u32.., Just(Kind::Reset), bytes(4..5usize)),
        (Just(0), Just(Kind::Limit), bytes(4..5usize)),
        (Just(0), Just(Kind::GoAway), bytes(4..5usize)),
        (Just(0), Just(Kind::Ping), bytes(8..9usize)),
        (Just(0), Just(Kind::Pong), bytes(8..9usize)),
    ]
}

proptest! {
    #[test]
    fn any_frames_in_any_pieces(
        frames in prop::collection::vec(frame(), 0..20),
        sizes in prop::collection::vec(1usize..30, 1..20),
    ) {
        let mut bytes = Vec::new();
        for (stream, kind, payload) in &frames {
            encode(&mut bytes, *stream, *kind, payload);
        }
        let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*size));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(decoded(&pieces), decoded(&[&bytes]));
    }

    /// Whatever comes, a session takes it or refuses it: no panic, and no step that takes nothing.
    #[test]
    fn noise_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut session = opened(3);
        let _ = take(|input| session.step(input), &[&noise]);
    }
}
