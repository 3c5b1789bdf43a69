//! Rules for single source files: first line, length, characters, what may stand where.

use super::floors::{is_test_file, reexports};
use super::{Tree, mask};

const LINE_COUNT_MAX: usize = 500;
const EXPORT_COUNT_MAX: usize = 30;
const UNSAFE_FILE_COUNT_MAX: usize = 6;

/// All complaints about single source files.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut out = Vec::new();
    let mut unsafe_files = Vec::new();
    for (path, text) in tree.rust() {
        if !is_test_path(path) || path.starts_with("tests/it/") {
            out.extend(check_head(path, text));
        }
        out.extend(check_characters(path, text));
        let masked = mask::code(text);
        let product = mask::without_tests(&masked);
        if !is_test_path(path) {
            out.extend(check_len(path, text, &product));
        }
        out.extend(check_places(path, &product));
        if path.ends_with("src/lib.rs") {
            // Names that a lower crate makes and this one passes on are counted there.
            let own = |module: &str| !module.starts_with("coffer_");
            let names = reexports(&product);
            let count = names.iter().filter(|(module, _)| own(module)).count();
            if count > EXPORT_COUNT_MAX {
                out.push(format!(
                    "{path}: re-exports {count} names, {EXPORT_COUNT_MAX} at most"
                ));
            }
        }
        if mask::words(&masked, "unsafe").next().is_some() {
            unsafe_files.push(path.to_owned());
        }
    }
    if unsafe_files.len() > UNSAFE_FILE_COUNT_MAX {
        out.push(format!(
            "unsafe stands in {} files, {UNSAFE_FILE_COUNT_MAX} at most: {}",
            unsafe_files.len(),
            unsafe_files.join(" ")
        ));
    }
    out.extend(check_every_text(tree));
    out
}

/// Is all of this file test code?
fn is_test_path(path: &str) -> bool {
    let inner = path.split_once("/src/").map_or(path, |(_, inner)| inner);
    path.starts_with("tests/it/") || path.contains("/tests/") || is_test_file(inner)
}

fn check_head(path: &str, text: &str) -> Option<String> {
    (!text.starts_with("//! "))
        .then(|| format!("{path}:1: start with \"//! \" and one sentence that says what this is"))
}

fn check_characters(path: &str, text: &str) -> Vec<String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.is_ascii())
        .map(|(index, _)| format!("{path}:{}: source is ASCII", index + 1))
        .collect()
}

/// Lines up to the last one that holds code or a comment of the product.
fn check_len(path: &str, text: &str, product: &str) -> Option<String> {
    let test_start = mask::words(text, "mod")
        .find(|at| text[..*at].trim_end().ends_with("#[cfg(test)]"))
        .map_or(usize::MAX, |at| mask::line_of(text, at) - 1);
    let code_end = product
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, _)| index + 1)
        .max()
        .unwrap_or(0);
    let count = code_end.min(test_start.max(1));
    (count > LINE_COUNT_MAX)
        .then(|| format!("{path}: {count} lines without tests, {LINE_COUNT_MAX} at most"))
}

/// Names that belong to certain files only.
fn check_places(path: &str, product: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut only = |name: &str, here: bool, why: &str| {
        for (at, _) in product.match_indices(name) {
            if !here {
                let line = mask::line_of(product, at);
                out.push(format!("{path}:{line}: {name} {why}"));
            }
        }
    };
    if path.starts_with("engine/src/") {
        let os = path.starts_with("engine/src/env/os") || path == "engine/src/sync.rs";
        only("extern crate std", os, "stands only in env/os and sync.rs");
        if path == "engine/src/lib.rs" && !product.contains("#![no_std]") {
            out.push(format!("{path}:1: the engine is #![no_std]"));
        }
    }
    let mut only = |name: &str, here: bool, why: &str| {
        for at in mask::words(product, name) {
            if !here {
                let line = mask::line_of(product, at);
                out.push(format!("{path}:{line}: {name} {why}"));
            }
        }
    };
    if path.starts_with("fusefs/src/") {
        let adapter = ["fuse.rs", "session.rs", "fuse/", "session/"]
            .iter()
            .any(|place| path["fusefs/src/".len()..].starts_with(place));
        only("fuser", adapter, "is named only by fuse and session");
    }
    out
}

/// Rules for every text of the repository.
fn check_every_text(tree: &Tree) -> Vec<String> {
    let open = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let machine = [
        concat!("/wo", "rk/"),
        concat!("/fa", "rm/"),
        concat!("/root", "/."),
    ];
    let mut out = Vec::new();
    for (path, text) in &tree.files {
        if path == "Cargo.lock" {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            if let Some(word) = open
                .iter()
                .find(|word| mask::words(line, word).next().is_some())
            {
                out.push(format!("{path}:{}: {word} is left open", index + 1));
            }
            if let Some(name) = machine.iter().find(|name| line.contains(**name)) {
                out.push(format!(
                    "{path}:{}: {name} is a path of one machine",
                    index + 1
                ));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn a_good_file_passes() {
        let text = format!("//! Good.\n{}", "fn f() {}\n".repeat(499));
        assert_eq!(count("engine/src/a.rs", &text), 0);
        let tested = format!(
            "{text}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "fn g() {}\n".repeat(400)
        );
        assert_eq!(count("engine/src/a.rs", &tested), 0);
    }

    #[test]
    fn bad_files_do_not() {
        let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(500));
        let exports = format!("//! X.\npub use a::{{{}}};", "B, ".repeat(31));
        for (path, text) in [
            ("engine/src/a.rs", "fn f() {}\n"),
            ("engine/src/a.rs", "//! Fl\u{f6}ors.\n"),
            ("engine/src/a.rs", long.as_str()),
            ("blobstore/src/lib.rs", exports.as_str()),
            ("engine/src/a.rs", "//! A.\nextern crate std;\n"),
            ("engine/src/lib.rs", "//! A.\n"),
            ("fusefs/src/inode.rs", "//! A.\nuse fuser::X;\n"),
            ("docs/X.md", concat!("TO", "DO: more")),
            ("docs/X.md", concat!("see /wo", "rk/x")),
        ] {
            assert_eq!(count(path, text), 1, "{path}: {text:.60}");
        }
        let files: Vec<(String, &str)> = (0..7)
            .map(|index| {
                (
                    format!("engine/src/f{index}.rs"),
                    "//! U.\nunsafe fn f() {}\n",
                )
            })
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), *b)).collect();
        assert_eq!(check(&Tree::of(&files)).len(), 1);
    }

    #[test]
    fn adapters_and_tests_may() {
        assert_eq!(count("fusefs/src/fuse.rs", "//! A.\nuse fuser::X;\n"), 0);
        assert_eq!(
            count("engine/src/env/os/mod.rs", "//! A.\nextern crate std;\n"),
            0
        );
        assert_eq!(
            count(
                "engine/src/a.rs",
                "//! A.\n#[cfg(test)]\nmod tests { extern crate std; }\n"
            ),
            0
        );
    }
}
