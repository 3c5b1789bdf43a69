//! Documents cannot rot: what they name exists.
//!
//! - Links between documents lead somewhere.
//! - Names that `docs/INVARIANTS.md` says enforce a rule stand in the source.
//! - Every attack of `docs/THREAT_MODEL.md` that counts as defeated names a test that exists.

use super::{Tree, mask};
use std::collections::BTreeSet;

/// All complaints about documents.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut out = Vec::new();
    for (path, text) in &tree.files {
        if path.ends_with(".md") {
            out.extend(check_links(tree, path, text));
        }
    }
    let mut words = BTreeSet::new();
    let mut tests = BTreeSet::new();
    for (path, text) in tree.rust() {
        if !path.starts_with("tests/src/tidy") {
            words.extend(text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
        }
        tests.extend(test_names(text));
    }
    if let Some(text) = tree.files.get("docs/INVARIANTS.md") {
        out.extend(check_invariants(tree, text, &words));
    }
    if let Some(text) = tree.files.get("docs/THREAT_MODEL.md") {
        out.extend(check_threats(text, &tests));
    }
    out
}

fn check_links(tree: &Tree, path: &str, text: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            let target = &rest[..rest.find(')').unwrap_or(rest.len())];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                path.to_owned()
            } else {
                join(folder, file)
            };
            let is_folder = tree
                .files
                .keys()
                .any(|other| other.starts_with(&format!("{}/", file.trim_end_matches('/'))));
            let Some(other) = tree.files.get(&file) else {
                if !is_folder {
                    out.push(format!(
                        "{path}:{}: link to {target} leads nowhere",
                        index + 1
                    ));
                }
                continue;
            };
            let has_anchor = anchor.is_empty()
                || other
                    .lines()
                    .any(|line| line.starts_with('#') && slug(line) == anchor);
            if !has_anchor {
                out.push(format!(
                    "{path}:{}: no heading #{anchor} in {file}",
                    index + 1
                ));
            }
        }
    }
    out
}

fn join(folder: &str, file: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn slug(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| {
            if c == ' ' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

/// The cells of a table row; `None` for other lines, and for rules and heads.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    (!cells
        .iter()
        .all(|cell| cell.chars().all(|c| c == '-' || c == ':')))
    .then_some(cells)
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn check_invariants(tree: &Tree, text: &str, words: &BTreeSet<&str>) -> Vec<String> {
    let mut out = Vec::new();
    let mut is_table = false;
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = cells(line) else {
            is_table &= line.trim().starts_with('|');
            continue;
        };
        if !is_table {
            is_table = true;
            continue;
        }
        let place = cells.last().copied().unwrap_or("");
        if quoted(place).next().is_none() {
            out.push(format!(
                "docs/INVARIANTS.md:{}: name in `quotes` what enforces the rule",
                index + 1
            ));
        }
        for name in quoted(place) {
            let is_path = name.contains('/') && tree.files.keys().any(|path| path.ends_with(name));
            let parts = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let all = parts
                .filter(|part| !part.is_empty())
                .all(|part| words.contains(part));
            if !is_path && !all {
                out.push(format!(
                    "docs/INVARIANTS.md:{}: `{name}` stands nowhere in the source",
                    index + 1
                ));
            }
        }
    }
    out
}

fn check_threats(text: &str, tests: &BTreeSet<&str>) -> Vec<String> {
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some(cells) = cells(line) else { continue };
        let [number, _attack, verdict, _how, names] = cells[..] else {
            continue;
        };
        if number.parse::<u32>().is_err() {
            continue;
        }
        let mut named = quoted(names).peekable();
        if verdict.starts_with("defeated") && named.peek().is_none() {
            out.push(format!(
                "docs/THREAT_MODEL.md:{}: row {number} is defeated but names no test",
                index + 1
            ));
        }
        for name in named {
            let name = name.rsplit("::").next().unwrap_or(name);
            if !tests.contains(name) {
                out.push(format!(
                    "docs/THREAT_MODEL.md:{}: there is no test `{name}`",
                    index + 1
                ));
            }
        }
    }
    out
}

/// Names of the functions behind `#[test]`.
fn test_names(text: &str) -> Vec<&str> {
    let starts = text.match_indices("#[test]").map(|(at, _)| at);
    starts
        .filter_map(|at| {
            let rest = &text[at..];
            let name = mask::words(rest, "fn").next()?;
            Some(mask::word(rest[name + 2..].trim_start()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_somewhere() {
        let good =
            "[a](ARCHITECTURE.md#life-of-a-write) [b](../README.md) [c](https://x) [d](decisions/)";
        let mut files = vec![
            ("docs/ARCHITECTURE.md", "## Life of a write\n"),
            ("README.md", ""),
            ("docs/decisions/0001-x.md", ""),
            ("docs/X.md", good),
        ];
        assert_eq!(check(&Tree::of(&files)), [""; 0]);
        files[3].1 = "[a](ARCHITECTURE.md#life)\n[b](README.md)";
        assert_eq!(check(&Tree::of(&files)).len(), 2);
    }

    #[test]
    fn invariants_name_code() {
        let row =
            |name: &str| format!("| rule | why | where |\n|---|---|---|\n| a | b | {name} |\n");
        let source = ("engine/src/a.rs", "fn open_block() { Foo::bar() }");
        for (name, count) in [
            ("`Foo::bar`, `open_block`", 0),
            ("`engine/src/a.rs`", 0),
            ("`Foo::gone`", 1),
            ("nothing", 1),
        ] {
            let text = row(name);
            let tree = Tree::of(&[source, ("docs/INVARIANTS.md", &text)]);
            assert_eq!(check(&tree).len(), count, "{name}: {:?}", check(&tree));
        }
    }

    #[test]
    fn threats_name_tests() {
        let source = (
            "tests/it/threat.rs",
            "#[test]\nfn swapped_frames() {}\nfn no_test() {}",
        );
        for (row, count) in [
            (
                "| 2 | swap | defeated | AAD | `threat::swapped_frames` |",
                0,
            ),
            ("| 2 | swap | defeated | AAD | `threat::no_test` |", 1),
            ("| 2 | swap | defeated | AAD | |", 1),
            ("| 2 | swap | declared | | |", 0),
        ] {
            let tree = Tree::of(&[source, ("docs/THREAT_MODEL.md", row)]);
            assert_eq!(check(&tree).len(), count, "{row}");
        }
    }
}
