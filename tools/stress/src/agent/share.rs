//! How the arguments of a run are shared out among agents.
//!
//! Owns which options are divided, which each agent has its own of, and which stay here. Never: knows what an option means beyond that.

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

/// Why there is a part for nobody.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooFew {
    pub(super) option: String,
    pub(super) agents: usize,
}

/// The arguments of `stress run` for each of `agents`, from `words`, those of this process behind `run`.
pub(super) fn out(words: &[String], agents: usize) -> Result<Vec<Vec<String>>, TooFew> {
    let pairs = options(words);
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
        for (name, value) in &pairs {
            has_connections |= name == "--connections";
            has_seed |= name == "--seed";
            if KEPT.contains(&name.as_str()) {
                continue;
            }
            share.push(name.clone());
            if let Some(value) = value {
                let own = divided(name, value, nth);
                if own.as_deref() == Some("0") {
                    return Err(TooFew {
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

/// Each word, with its value where it is an option. Every option of `run` has one, and none begins with `--`.
fn options(words: &[String]) -> Vec<(String, Option<String>)> {
    let mut pairs = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            pairs.push((word.clone(), None));
        } else if let Some((name, value)) = word.split_once('=') {
            pairs.push((name.to_owned(), Some(value.to_owned())));
        } else {
            let value = words.next_if(|next| !next.starts_with("--"));
            pairs.push((word.clone(), value.cloned()));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(line: &str, agents: usize) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
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
        let words = ["http://h/", "--connections", "1"].map(str::to_owned);
        let error = out(&words, 2).unwrap_err();
        assert_eq!((error.option.as_str(), error.agents), ("--connections", 2));
    }
}
