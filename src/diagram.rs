//! State diagrams in ARCHITECTURE.md, made from the tables that the code goes by. For tests.
//!
//! To write them anew: `RINGPOOL_WRITE_DIAGRAMS=1 cargo test --lib diagram`

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const WRITE: &str = "RINGPOOL_WRITE_DIAGRAMS";

/// One page, and tests on several threads.
static PAGE: Mutex<()> = Mutex::new(());

/// What leads from where to where, in the order in which it was added.
pub(crate) struct Diagram {
    first: String,
    /// From, to, and why.
    moves: Vec<(String, String, Vec<String>)>,
}

impl Diagram {
    pub(crate) fn from(first: &str) -> Diagram {
        Diagram {
            first: first.to_owned(),
            moves: Vec::new(),
        }
    }

    /// What stays where it is is not drawn.
    pub(crate) fn add(&mut self, from: &str, to: &str, why: &str) {
        if from != to {
            self.draw(from, to, why);
        }
    }

    /// `why` ends it all.
    pub(crate) fn ends(&mut self, from: &str, why: &str) {
        self.draw(from, "[*]", why);
    }

    fn draw(&mut self, from: &str, to: &str, why: &str) {
        let known = self.moves.iter_mut().find(|(f, t, _)| f == from && t == to);
        match known {
            Some((_, _, whys)) if whys.iter().any(|other| other == why) => {}
            Some((_, _, whys)) => whys.push(why.to_owned()),
            None => self
                .moves
                .push((from.to_owned(), to.to_owned(), vec![why.to_owned()])),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("```mermaid\nstateDiagram-v2\n    [*] --> {}\n", self.first);
        for (from, to, whys) in &self.moves {
            let _ = writeln!(text, "    {from} --> {to}: {}", whys.join(", "));
        }
        text + "```\n"
    }

    /// Compares with what stands between the markers of that name in ARCHITECTURE.md.
    ///
    /// # Panics
    /// If that is something else, unless it may be written anew.
    pub(crate) fn check(&self, name: &str) {
        let _page = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
        let page = fs::read_to_string(&path).expect("ARCHITECTURE.md");
        let (before, written, after) = between(&page, name).expect("the markers of a diagram");
        let text = self.text();
        if written == text {
            return;
        }
        assert!(
            std::env::var_os(WRITE).is_some(),
            "the diagram {name:?} in ARCHITECTURE.md is out of date. \
             Write it anew: {WRITE}=1 cargo test --lib diagram\n{text}"
        );
        fs::write(&path, format!("{before}{text}{after}")).expect("ARCHITECTURE.md can be written");
    }
}

/// What stands before, between and after the markers, the markers themselves in the first and the last.
fn between<'a>(page: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let begin = format!("<!-- diagram: {name} -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let from = page.find(&begin)? + begin.len();
    let to = from + page[from..].find(&end)?;
    Some((&page[..from], &page[from..to], &page[to..]))
}

#[test]
fn moves_are_drawn_once_with_all_their_reasons() {
    let mut diagram = Diagram::from("A");
    diagram.add("A", "B", "one");
    diagram.add("B", "B", "nothing");
    diagram.add("A", "B", "two");
    diagram.add("A", "B", "one");
    diagram.ends("B", "three");
    let expected = "```mermaid\nstateDiagram-v2\n    [*] --> A\n    A --> B: one, two\n    B --> [*]: three\n```\n";
    assert_eq!(diagram.text(), expected);
}

#[test]
fn a_diagram_stands_between_its_markers() {
    let page = "x\n<!-- diagram: a -->\nold\n<!-- end of a -->\ny\n";
    let expected = (
        "x\n<!-- diagram: a -->\n",
        "old\n",
        "<!-- end of a -->\ny\n",
    );
    assert_eq!(between(page, "a"), Some(expected));
    assert_eq!(between(page, "b"), None);
}
