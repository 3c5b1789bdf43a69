//! House rules as a program: it reads the source tree and says what breaks them.
//!
//! - Every rule is a pure function from texts to complaints, so that it can be shown to fail.
//! - A complaint names file and line and says what to do.

mod docs;
mod floors;
pub mod mask;
mod names;
mod source;

use std::collections::BTreeMap;
use std::path::Path;

/// All text files of the repository by path from its root, with `/` between parts.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Path to contents.
    pub files: BTreeMap<String, String>,
}

/// Directories without rules: build output and binary samples.
const PASSED_OVER: [&str; 4] = ["target", ".git", "golden", "node_modules"];

impl Tree {
    /// Reads the repository at `root`; files that are not UTF-8 are passed over.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(root: &Path) -> std::io::Result<Self> {
        let mut tree = Self::default();
        let mut open = vec![root.to_path_buf()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                let name = entry.file_name();
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    if !PASSED_OVER.iter().any(|passed| name == *passed) {
                        open.push(entry.path());
                    }
                } else if kind.is_file()
                    && name != ".git"
                    && let Ok(text) = std::fs::read_to_string(entry.path())
                    && let Ok(path) = entry.path().strip_prefix(root)
                {
                    tree.files
                        .insert(path.to_string_lossy().replace('\\', "/"), text);
                }
            }
        }
        Ok(tree)
    }

    /// A tree of these files, for tests of the rules.
    #[must_use]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        Self {
            files: files.collect(),
        }
    }

    /// The Rust source files.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Everything that breaks a house rule, sorted by path.
#[must_use]
pub fn complaints(tree: &Tree) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(floors::check(tree));
    all.extend(source::check(tree));
    all.extend(names::check(tree));
    all.extend(docs::check(tree));
    all.sort();
    all.dedup();
    all
}
