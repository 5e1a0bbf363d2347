//! A copy of the workspace in which a canary is built.
//!
//! Owns: the directory `canaries` under the target directory, with a target directory of its own. Files
//! are written only where they differ, so that cargo builds no more than a canary changes.
//! Never: touches the workspace itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What of the workspace is copied.
const PARTS: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "benches",
    "examples",
    "src",
    "tests",
    "tools",
];

/// What cargo built of a tool that is a workspace of its own: nothing of the product, and large.
const BUILT: &str = "target";

/// The copy.
pub struct Scratch {
    workspace: PathBuf,
    directory: PathBuf,
}

impl Scratch {
    /// Of the workspace that this was built in.
    pub fn new() -> Scratch {
        let workspace = workspace();
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| workspace.join("target"));
        Scratch {
            directory: target.join("canaries"),
            workspace,
        }
    }

    /// Makes the copy equal to the workspace, but for these files.
    ///
    /// # Errors
    /// What could not be read or written.
    pub fn write(&self, changed: &BTreeMap<String, String>) -> io::Result<()> {
        let copy = self.copy();
        for part in PARTS {
            mirror(&self.workspace.join(part), &copy.join(part), &|from| {
                let name = from.strip_prefix(&self.workspace).unwrap_or(from);
                changed.get(name.to_str()?).map(String::as_bytes)
            })?;
        }
        Ok(())
    }

    /// Checks that the copy compiles.
    ///
    /// # Errors
    /// What the compiler said.
    pub fn check(&self) -> Result<(), String> {
        let features = ["-p", "ringpool", "--lib", "--features", "simulation"];
        self.cargo("check", &features)
    }

    /// Builds the copy's simulator.
    ///
    /// # Errors
    /// What the compiler said.
    pub fn build(&self) -> Result<(), String> {
        self.cargo("build", &["--release", "-p", "sim"])
    }

    /// The simulator that was built last.
    pub fn simulator(&self) -> PathBuf {
        self.target().join("release").join("sim")
    }

    /// Where a file of this name can be put.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn copy(&self) -> PathBuf {
        self.directory.join("workspace")
    }

    fn target(&self) -> PathBuf {
        self.directory.join("target")
    }

    fn cargo(&self, command: &str, arguments: &[&str]) -> Result<(), String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([command, "--quiet", "--locked"])
            .args(arguments)
            .current_dir(self.copy())
            .env("CARGO_TARGET_DIR", self.target())
            // Built once for each canary, and run for some seconds: what counts is both together.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "64")
            .env("RUSTFLAGS", "--cap-lints=allow")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cargo cannot be run: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tool.ancestors().nth(2);
    root.expect("the simulator is in tools/sim").to_owned()
}

/// The product's own files, by their names from the root on.
///
/// # Errors
/// What could not be read.
pub fn product() -> io::Result<BTreeMap<String, String>> {
    let root = workspace();
    let (mut files, mut left) = (BTreeMap::new(), vec![root.join("src")]);
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                left.push(entry?.path());
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(&root).unwrap_or(&path);
            files.insert(
                name.to_string_lossy().into_owned(),
                fs::read_to_string(&path)?,
            );
        }
    }
    Ok(files)
}

/// Makes `to` equal to `from`, but for what `instead` has for a file, and for what was built.
fn mirror<'a>(
    from: &Path,
    to: &Path,
    instead: &impl Fn(&Path) -> Option<&'a [u8]>,
) -> io::Result<()> {
    if !from.is_dir() {
        let wanted = match instead(from) {
            Some(bytes) => bytes.to_vec(),
            None => fs::read(from)?,
        };
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory)?;
        }
        return match fs::read(to) {
            Ok(there) if there == wanted => Ok(()),
            Ok(_) | Err(_) => fs::write(to, wanted),
        };
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        let gone = !from.join(entry.file_name()).exists();
        match gone.then(|| entry.file_type()).transpose()? {
            Some(kind) if kind.is_dir() => fs::remove_dir_all(entry.path())?,
            Some(_) => fs::remove_file(entry.path())?,
            None => {}
        }
    }
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name == BUILT {
            continue;
        }
        mirror(&from.join(&name), &to.join(&name), instead)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_what_there_is_and_nothing_else() {
        let name = format!("ringpool-sim-mirror-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let (from, to) = (root.join("from"), root.join("to"));
        fs::create_dir_all(from.join("a")).unwrap();
        fs::create_dir_all(to.join("old")).unwrap();
        fs::create_dir_all(from.join("a/target")).unwrap();
        fs::write(from.join("a/b"), "one").unwrap();
        fs::write(from.join("c"), "two").unwrap();
        fs::write(to.join("gone"), "three").unwrap();
        let instead = |path: &Path| path.ends_with("c").then_some(b"other".as_slice());
        mirror(&from, &to, &instead).unwrap();
        assert_eq!(fs::read(to.join("a/b")).unwrap(), b"one");
        assert_eq!(fs::read(to.join("c")).unwrap(), b"other");
        assert!(!to.join("a/target").exists());
        assert!(!to.join("gone").exists() && !to.join("old").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
