//! Names: the field's words only, and none of the words that say nothing.

use super::{Tree, mask};

/// Words that no type may contain as a part of its name.
const EMPTY_WORDS: [&str; 5] = ["Manager", "Helper", "Util", "Utils", "Common"];

/// Operations of an object store or of a protocol, not getters.
const GET_ALLOWED: [&str; 3] = ["get_range", "get_stream", "get_many"];

/// All complaints about names.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let mut out = Vec::new();
    for (path, text) in tree.rust() {
        let file = path.rsplit('/').next().unwrap_or(path);
        let stem = file.trim_end_matches(".rs");
        if [
            "util", "utils", "helper", "helpers", "common", "misc", "manager",
        ]
        .contains(&stem)
        {
            out.push(format!("{path}: name the file after the noun it holds"));
        }
        let masked = mask::code(text);
        for keyword in ["struct", "enum", "trait", "type", "mod"] {
            for at in mask::words(&masked, keyword) {
                let name = mask::word(masked[at + keyword.len()..].trim_start());
                if let Some(why) = bad_type(name) {
                    let line = mask::line_of(&masked, at);
                    out.push(format!("{path}:{line}: {name}: {why}"));
                }
            }
        }
        for at in mask::words(&masked, "fn") {
            let name = mask::word(masked[at + 2..].trim_start());
            if name.starts_with("get_") && !GET_ALLOWED.contains(&name) {
                let line = mask::line_of(&masked, at);
                out.push(format!("{path}:{line}: {name}: drop the prefix get_"));
            }
        }
    }
    out
}

fn bad_type(name: &str) -> Option<&'static str> {
    let parts = parts(name);
    if parts.iter().any(|part| EMPTY_WORDS.contains(part)) {
        return Some("say what it is, not that it manages or helps");
    }
    let first = parts.first().copied().unwrap_or("");
    if parts.len() > 1 && ["Any", "Abstract"].contains(&first) {
        return Some("no Any or Abstract in front of a type");
    }
    if parts.len() > 1 && ["V1", "V2", "V3"].contains(parts.last().unwrap_or(&"")) {
        return Some("a version is a value of the format enum, not a second type");
    }
    None
}

/// The words of a CamelCase name.
fn parts(name: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = name
        .bytes()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_uppercase())
        .map(|(index, _)| index)
        .collect();
    starts.push(name.len());
    starts
        .windows(2)
        .map(|pair| &name[pair[0]..pair[1]])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_words_are_found() {
        for text in [
            "struct KeyManager;",
            "enum PathUtils { A }",
            "trait AbstractFile {}",
            "struct HeaderV2;",
            "type AnyBlock = u8;",
            "fn get_len() {}",
        ] {
            assert_eq!(
                check(&Tree::of(&[("engine/src/a.rs", text)])).len(),
                1,
                "{text}"
            );
        }
        assert_eq!(check(&Tree::of(&[("engine/src/utils.rs", "")])).len(), 1);
    }

    #[test]
    fn good_words_pass() {
        for text in [
            "struct KeyRing;",
            "fn get() {} fn get_range() {} fn budget_left() {}",
            "// struct Manager\nfn f() { \"struct Helper\"; }",
            "struct Utility; type Any = u8;",
        ] {
            assert_eq!(
                check(&Tree::of(&[("engine/src/a.rs", text)])),
                [""; 0],
                "{text}"
            );
        }
    }
}
