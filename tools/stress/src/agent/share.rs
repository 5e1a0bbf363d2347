//! How the arguments of a run are shared out among agents.
//!
//! Owns which options are divided, which each agent has its own of, and which stay here. Never: knows what an option means beyond that.

use std::ffi::OsString;
use std::fmt;

/// Options that stay with the conductor: files that it writes or reads, and itself.
pub(super) const KEPT: [&str; 6] = [
    "--agents",
    "--json",
    "--report",
    "--csv",
    "--hlog",
    "--insecure-ca",
];
/// Options with a whole number that is divided.
const DIVIDED: [&str; 2] = ["--connections", "--callers"];
/// What `--connections` is where it is not said, as in the command line's definition.
const CONNECTIONS_DEFAULT: u64 = 64;

/// What `--seed` is where it is not said.
const SEED_DEFAULT: &str = "1";

/// Why the arguments cannot be shared out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ShareError {
    /// There is a part for not so many.
    TooFew { option: String, agents: usize },
    /// What an agent is to be told is no UTF-8, and could not be told.
    NotText { word: String },
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { option, agents } => {
                write!(f, "{option} is too small to be shared by {agents} agents")
            }
            Self::NotText { word } => {
                write!(f, "`{word}` is not UTF-8: agents could not be told")
            }
        }
    }
}

impl std::error::Error for ShareError {}

/// The arguments of `stress run` for each of `agents`, from `words`, those of this process behind `run`.
pub(super) fn out(words: &[OsString], agents: usize) -> Result<Vec<Vec<String>>, ShareError> {
    let pairs: Vec<Pair> = options(words)
        .into_iter()
        .filter(|pair| !KEPT.contains(&pair.name.as_str()))
        .collect();
    if let Some(pair) = pairs.iter().find(|pair| !pair.is_text) {
        let word = pair.value.as_ref().unwrap_or(&pair.name).clone();
        return Err(ShareError::NotText { word });
    }
    let divided = |name: &str, value: &str, nth: usize| -> Option<String> {
        match name {
            "--rate" => {
                let rate: f64 = value.parse().ok()?;
                Some((rate / agents as f64).to_string())
            }
            // Random numbers are to differ, and to be the same the next time.
            "--seed" => Some(
                value
                    .parse::<u64>()
                    .ok()?
                    .wrapping_add(nth as u64)
                    .to_string(),
            ),
            name if DIVIDED.contains(&name) => {
                let all: usize = value.parse().ok()?;
                Some((all / agents + usize::from(nth < all % agents)).to_string())
            }
            _ => None,
        }
    };
    let mut shares = Vec::new();
    for nth in 0..agents {
        let mut share = Vec::new();
        let (mut has_connections, mut has_seed) = (false, false);
        for Pair { name, value, .. } in &pairs {
            has_connections |= name == "--connections";
            has_seed |= name == "--seed";
            share.push(name.clone());
            if let Some(value) = value {
                let own = divided(name, value, nth);
                if own.as_deref() == Some("0") {
                    return Err(ShareError::TooFew {
                        option: name.clone(),
                        agents,
                    });
                }
                share.push(own.unwrap_or_else(|| value.clone()));
            }
        }
        if !has_connections {
            let all = CONNECTIONS_DEFAULT.to_string();
            let own = divided("--connections", &all, nth).unwrap_or(all);
            share.extend(["--connections".to_owned(), own]);
        }
        if !has_seed {
            let own = divided("--seed", SEED_DEFAULT, nth).unwrap_or_default();
            share.extend(["--seed".to_owned(), own]);
        }
        shares.push(share);
    }
    Ok(shares)
}

/// A word, with its value where it is an option.
struct Pair {
    name: String,
    value: Option<String>,
    /// Whether both are UTF-8; else they are told as well as it goes.
    is_text: bool,
}

/// All words. Every option of `run` has a value, and none begins with `--`.
fn options(words: &[OsString]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut words = words.iter().peekable();
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    while let Some(word) = words.next() {
        let mut pair = Pair {
            name: text(word),
            value: None,
            is_text: word.to_str().is_some(),
        };
        if let Some((name, value)) = pair.name.split_once('=').filter(|_| is_option(word)) {
            (pair.name, pair.value) = (name.to_owned(), Some(value.to_owned()));
        } else if is_option(word)
            && let Some(value) = words.next_if(|next| !is_option(next))
        {
            pair.is_text &= value.to_str().is_some();
            pair.value = Some(text(value));
        }
        pairs.push(pair);
    }
    pairs
}

fn is_option(word: &OsString) -> bool {
    word.as_encoded_bytes().starts_with(b"--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(line: &str, agents: usize) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let shares = out(&words, agents).unwrap();
        shares.iter().map(|share| share.join(" ")).collect()
    }

    #[test]
    fn rate_and_connections_are_divided_and_files_stay_here() {
        let line = "http://h/ --connections 5 --rate=1000 --duration 2s --agents a,b --json - --insecure-ca=/f --report r.html";
        assert_eq!(
            shares(line, 2),
            [
                "http://h/ --connections 3 --rate 500 --duration 2s --seed 1",
                "http://h/ --connections 2 --rate 500 --duration 2s --seed 2",
            ]
        );
    }

    #[test]
    fn what_is_not_said_is_divided_too_and_seeds_differ() {
        assert_eq!(
            shares("--seed 7 http://h/", 3),
            [
                "--seed 7 http://h/ --connections 22",
                "--seed 8 http://h/ --connections 21",
                "--seed 9 http://h/ --connections 21",
            ]
        );
    }

    #[test]
    fn nobody_is_left_without_a_connection() {
        let words = ["http://h/", "--connections", "1"].map(OsString::from);
        let option = "--connections".to_owned();
        let error = ShareError::TooFew { option, agents: 2 };
        assert_eq!(out(&words, 2), Err(error));
    }

    #[test]
    fn what_cannot_be_told_is_refused_and_what_stays_here_is_not_looked_at() {
        use std::os::unix::ffi::OsStringExt;
        let odd = |prefix: &str| OsString::from_vec([prefix.as_bytes(), b"\xff"].concat());
        let url = || OsString::from("http://h/");
        for words in [
            vec![odd("http://h/")],
            vec![url(), "--size".into(), odd("")],
            vec![url(), odd("--size=")],
            vec![url(), odd("--")],
        ] {
            let error = out(&words, 1).unwrap_err();
            assert!(matches!(error, ShareError::NotText { .. }), "{words:?}");
        }
        let files = [url(), "--json".into(), odd("a"), odd("--report=")];
        assert_eq!(out(&files, 1).map(|shares| shares[0].len()), Ok(5));
    }
}
