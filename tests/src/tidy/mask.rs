//! Rust source with everything blanked that is not code: comments, strings, test code.
//!
//! - The length in bytes and all line breaks stay, so that line numbers stay true.
//! - Good enough for house rules, not a parser: it never fails.

/// Blanks comments and the contents of string and character literals.
#[must_use]
pub fn code(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_comment_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at + 1),
            b'r' if raw_string_end(bytes, at).is_some() => {
                raw_string_end(bytes, at).unwrap_or(at + 1)
            }
            b'\'' => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end > at {
            blank(&mut out[at..end]);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Blanks every item behind `#[cfg(test)]`; `masked` is a result of [`code`].
#[must_use]
pub fn without_tests(masked: &str) -> String {
    let mut out = masked.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = masked
        .get(from..)
        .and_then(|rest| rest.find("#[cfg(test)]"))
    {
        let start = from + found;
        let end = item_end(masked.as_bytes(), start + "#[cfg(test)]".len());
        blank(&mut out[start..end]);
        from = end;
    }
    String::from_utf8(out).unwrap_or_default()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn line_comment_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    at + rest
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(rest.len())
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let part_of_name = at > 0 && is_word(bytes[at - 1]) && bytes[at - 1] != b'b';
    if part_of_name {
        return None;
    }
    let hashes = bytes[at + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let rest = &bytes[open + 1..];
    let found = rest
        .windows(close.len())
        .position(|window| window == close)?;
    Some(open + 1 + found + close.len())
}

/// The end of a character literal; `None` for a lifetime.
fn char_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().position(|byte| *byte == b'\'')?;
        return Some(at + 3 + close + 1);
    }
    (bytes.get(at + 2) == Some(&b'\'')).then_some(at + 3)
}

/// The end of the item that starts at or behind `at`: its closing brace or its semicolon.
fn item_end(bytes: &[u8], mut at: usize) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => braces += 1,
            b'(' | b'[' => others += 1,
            b')' | b']' => others = others.saturating_sub(1),
            b'}' if braces <= 1 => return at + 1,
            b'}' => braces -= 1,
            b';' if braces == 0 && others == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Can this byte stand inside an identifier?
#[must_use]
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The identifier at the start of `text`, perhaps empty.
#[must_use]
pub fn word(text: &str) -> &str {
    let end = text
        .bytes()
        .position(|byte| !is_word(byte))
        .unwrap_or(text.len());
    &text[..end]
}

/// Line number (from 1) of a byte offset.
#[must_use]
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// Offsets of `word` in `text` where it is not part of a longer identifier.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).filter_map(move |(at, _)| {
        let before = at.checked_sub(1).map(|before| text.as_bytes()[before]);
        let after = text.as_bytes().get(at + word.len()).copied();
        (!before.is_some_and(is_word) && !after.is_some_and(is_word)).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_what_is_not_code() {
        let source = "let a = \"crate::x \\\" //\"; // crate::y\nlet b = r#\"c\"rate\"#; /* /* x */ */ 'c' '\\'' fn f<'a>()";
        let masked = code(source);
        assert_eq!(masked.len(), source.len());
        assert!(!masked.contains("crate"));
        assert!(masked.contains("let b ="));
        assert!(masked.contains("fn f<'a>()"));
        assert!(!masked.contains('c'.to_string().repeat(2).as_str()));
    }

    #[test]
    fn blanks_test_items_only() {
        let source =
            "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { {} } }\n#[cfg(test)] mod c;\nfn d() {}";
        let rest = without_tests(&code(source));
        assert!(rest.contains("fn a") && rest.contains("fn d"));
        assert!(!rest.contains("fn b") && !rest.contains("mod c"));
        assert_eq!(rest.lines().count(), source.lines().count());
    }

    #[test]
    fn finds_whole_words() {
        assert_eq!(words("ab a ba a", "a").collect::<Vec<_>>(), [3, 8]);
        assert_eq!(line_of("a\nb\nc", 4), 3);
        assert_eq!(word("ab_1.c"), "ab_1");
    }
}
