//! Floors: a module imports only modules above it; a crate depends only on crates below it.
//!
//! - The lists are read from `docs/ARCHITECTURE.md`: the document is the input of the rule.
//! - A name of the crate root counts as the module that it is re-exported from.
//! - Tests may look anywhere.

use super::{Tree, mask};
use std::collections::BTreeMap;

/// Which Coffer crates each crate may name in `[dependencies]`.
const CRATES: [(&str, &[&str]); 3] = [
    ("engine", &[]),
    ("blobstore", &["coffer-engine"]),
    ("fusefs", &["coffer-blobstore"]),
];

/// All complaints about floors and crate order.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut out = Vec::new();
    for (name, allowed) in CRATES {
        out.extend(check_crate_order(tree, name, allowed));
        match floors(tree, name) {
            Some(floors) => out.extend(check_crate(tree, name, &floors)),
            None => out.push(format!(
                "docs/ARCHITECTURE.md: no block \"```floors {name}\""
            )),
        }
    }
    out
}

fn floors(tree: &Tree, name: &str) -> Option<Vec<String>> {
    let text = tree.files.get("docs/ARCHITECTURE.md")?;
    let mut lines = text.lines();
    lines.find(|line| line.trim() == format!("```floors {name}"))?;
    Some(
        lines
            .take_while(|line| line.trim() != "```")
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect(),
    )
}

fn check_crate_order(tree: &Tree, name: &str, allowed: &[&str]) -> Vec<String> {
    let path = format!("{name}/Cargo.toml");
    let Some(text) = tree.files.get(&path) else {
        return Vec::new();
    };
    let mut section = "";
    let mut out = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
        }
        let dependency = line.split(['=', '.', ' ']).next().unwrap_or("");
        if section == "[dependencies]"
            && dependency.starts_with("coffer-")
            && !allowed.contains(&dependency)
        {
            out.push(format!(
                "{path}:{}: {name} must not depend on {dependency}",
                index + 1
            ));
        }
    }
    out
}

fn check_crate(tree: &Tree, name: &str, floors: &[String]) -> Vec<String> {
    let prefix = format!("{name}/src/");
    let mut out = Vec::new();
    let lib = tree
        .files
        .get(&format!("{prefix}lib.rs"))
        .map_or("", String::as_str);
    let lib = mask::without_tests(&mask::code(lib));
    let exports = exports(&lib);
    let modules = modules(&lib);
    for module in &modules {
        if !floors.contains(module) {
            out.push(format!(
                "{prefix}lib.rs: module {module} has no floor in docs/ARCHITECTURE.md"
            ));
        }
    }
    for floor in floors {
        if !modules.contains(floor) {
            out.push(format!(
                "docs/ARCHITECTURE.md: floor {floor} of {name} is no module of it"
            ));
        }
    }
    for (path, text) in tree.rust() {
        let Some(inner) = path.strip_prefix(&prefix) else {
            continue;
        };
        if inner == "lib.rs" || is_test_file(inner) {
            continue;
        }
        let module = inner.split(['/', '.']).next().unwrap_or("");
        let masked = mask::without_tests(&mask::code(text));
        for (at, target) in imports(&masked) {
            let target = exports.get(target).map_or(target, String::as_str);
            let line = mask::line_of(&masked, at);
            match (rank(floors, module), rank(floors, target)) {
                (Some(own), Some(other)) if other > own => out.push(format!(
                    "{path}:{line}: {module} must not import {target}, which stands below it"
                )),
                (Some(_), None) => out.push(format!("{path}:{line}: crate::{target} has no floor")),
                _ => {}
            }
        }
        out.extend(check_super(path, inner, &masked));
    }
    out
}

fn rank(floors: &[String], module: &str) -> Option<usize> {
    floors.iter().position(|floor| floor == module)
}

/// Is this file, given by its path in `src`, a module of tests?
pub(super) fn is_test_file(inner: &str) -> bool {
    inner
        .split('/')
        .any(|part| part == "tests.rs" || part == "tests" || part.ends_with("_tests.rs"))
}

/// A file directly under `src` sees the crate root through `super`; nothing climbs twice.
fn check_super(path: &str, inner: &str, masked: &str) -> Vec<String> {
    let is_top =
        !inner.contains('/') || inner.ends_with("/mod.rs") && inner.matches('/').count() == 1;
    let mut out = Vec::new();
    for (at, _) in masked.match_indices("super::") {
        let line = mask::line_of(masked, at);
        let twice = masked[at + 7..].starts_with("super::");
        if twice || (is_top && !inside_inline_module(masked, at)) {
            out.push(format!("{path}:{line}: write crate::..., not super::"));
        }
    }
    out
}

fn inside_inline_module(masked: &str, at: usize) -> bool {
    let mut stack = Vec::new();
    let mut from = 0;
    for (index, byte) in masked.bytes().enumerate().take(at) {
        match byte {
            b'{' => stack.push(mask::words(&masked[from..index], "mod").next().is_some()),
            b'}' => drop(stack.pop()),
            b';' => {}
            _ => continue,
        }
        from = index + 1;
    }
    stack.contains(&true)
}

/// Offsets and first names of all `crate::` paths.
fn imports(masked: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    for (at, _) in masked.match_indices("crate::") {
        if at > 0 && (mask::is_word(masked.as_bytes()[at - 1]) || masked.as_bytes()[at - 1] == b'$')
        {
            continue;
        }
        let rest = &masked[at + "crate::".len()..];
        if let Some(group) = rest.trim_start().strip_prefix('{') {
            out.extend(group_names(group).into_iter().map(|name| (at, name)));
        } else {
            out.push((at, mask::word(rest)));
        }
    }
    out
}

/// First names of the members of a `{a, b::{c, d}}` group, `group` starting behind its brace.
fn group_names(group: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut start = 0;
    let mut out = Vec::new();
    for (index, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => {
                out.push(mask::word(group[start..index].trim_start()));
                break;
            }
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                out.push(mask::word(group[start..index].trim_start()));
                start = index + 1;
            }
            _ => {}
        }
    }
    out.retain(|name| !name.is_empty());
    out
}

fn modules(lib: &str) -> Vec<String> {
    mask::words(lib, "mod")
        .map(|at| mask::word(lib[at + 3..].trim_start()).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Names of the crate root, each with the module it comes from.
fn exports(lib: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (module, name) in reexports(lib) {
        out.insert(name, module);
    }
    out
}

/// Pairs of module and name of every `pub use` in a masked `lib.rs`.
pub(super) fn reexports(lib: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (at, _) in lib.match_indices("pub use ") {
        let rest = &lib[at + "pub use ".len()..];
        let statement = &rest[..rest.find(';').unwrap_or(rest.len())];
        let path = statement
            .trim_start_matches("crate::")
            .trim_start_matches("self::");
        let module = mask::word(path).to_owned();
        let leaves = path.split(['{', '}', ',']).filter_map(|part| {
            let leaf = part.trim().rsplit("::").next()?.trim();
            let leaf = leaf.rsplit(" as ").next()?.trim();
            (!leaf.is_empty()).then_some(leaf)
        });
        out.extend(leaves.map(|leaf| (module.clone(), leaf.to_owned())));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: &str = "```floors engine\nerror\nblock\ndb\n```\n```floors blobstore\n```\n```floors fusefs\n```\n";

    fn engine(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[
            ("docs/ARCHITECTURE.md", DOC),
            (
                "engine/src/lib.rs",
                "mod error; mod block; mod db; pub use db::{Db, Options as O}; pub use error::Error;",
            ),
            (path, text),
        ]))
    }

    #[test]
    fn lets_upper_floors_through() {
        for text in [
            "use crate::error::Error;",
            "use crate::{Error, error::{A, B}};",
            "use crate::block::x;",
            "// crate::db\nfn f() { \"crate::db\"; }",
            "#[cfg(test)]\nmod tests { use crate::db::Db; use super::*; }",
        ] {
            assert_eq!(engine("engine/src/block/a.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn stops_lower_floors() {
        for text in [
            "use crate::db::Db;",
            "use crate::{error::E, db::{Db, X}};",
            "fn f() { crate::Db::open() }",
            "fn f() { crate::O::new() }",
            "use crate::nowhere::X;",
            "use super::super::db::Db;",
        ] {
            assert_eq!(engine("engine/src/block/a.rs", text).len(), 1, "{text}");
        }
        assert_eq!(engine("engine/src/block.rs", "use super::db;").len(), 1);
        assert_eq!(
            engine("engine/src/block.rs", "mod arm { use super::db; }").len(),
            0
        );
    }

    #[test]
    fn the_list_and_the_modules_agree() {
        let tree = Tree::of(&[
            ("docs/ARCHITECTURE.md", DOC),
            ("engine/src/lib.rs", "mod error; mod extra; mod db;"),
        ]);
        assert_eq!(check(&tree).len(), 2);
        assert_eq!(check(&Tree::default()).len(), 3);
    }

    #[test]
    fn crates_never_look_up() {
        let tree = Tree::of(&[
            ("docs/ARCHITECTURE.md", DOC),
            ("engine/src/lib.rs", "mod error; mod block; mod db;"),
            (
                "fusefs/Cargo.toml",
                "[dependencies]\ncoffer-blobstore.workspace = true\ncoffer-engine = { workspace = true }\n[dev-dependencies]\ncoffer-tests = 1\n",
            ),
        ]);
        let found = check(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("fusefs/Cargo.toml:3:"));
    }
}
