//! The table of mounts, as the kernel tells it in `/proc/self/mountinfo`.
//!
//! - Read only, and never asks the file system that is mounted: works for a dead mount too.
//! - The last entry for a path is the one that a lookup of this path finds.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// File system type under which a mounted store appears.
pub const FS_TYPE: &str = "fuse.coffer";

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Number of the mount, unique while it exists.
    pub id: u64,
    /// `major:minor` of the file system.
    pub device: String,
    /// Where it is mounted.
    pub point: PathBuf,
    /// File system type with subtype.
    pub fs_type: String,
    /// What is mounted: the `fsname`.
    pub source: OsString,
}

/// All mounts that this process sees, in the order in which they were made.
///
/// # Errors
/// Where `/proc` is not there.
pub fn mounts() -> io::Result<Vec<MountEntry>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .collect())
}

/// The mount that a lookup of `point` finds, where `point` is a mount point.
///
/// # Errors
/// Where `/proc` is not there.
pub fn mount_at(point: &Path) -> io::Result<Option<MountEntry>> {
    Ok(mounts()?
        .into_iter()
        .rev()
        .find(|entry| entry.point == point))
}

fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = core::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = core::str::from_utf8(fields.nth(1)?).ok()?.to_owned();
    let point = PathBuf::from(unescape(fields.nth(1)?));
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(rest.next()?).into_owned();
    let source = unescape(rest.next()?);
    Some(MountEntry {
        id,
        device,
        point,
        fs_type,
        source,
    })
}

/// Undoes the kernel's `\ooo` for space, tab, newline, backslash and `#`.
fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let code = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(*first));
        rest = tail
            .get(if code.is_some() { 3 } else { 0 }..)
            .unwrap_or(&[]);
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_line_with_optional_fields_and_escapes() {
        let line = br"36 35 0:41 / /mnt/a\040b\134c rw,nosuid shared:7 - fuse.coffer /s,\043x rw,user_id=0";
        assert_eq!(
            parse(line),
            Some(MountEntry {
                id: 36,
                device: "0:41".into(),
                point: PathBuf::from(r"/mnt/a b\c"),
                fs_type: FS_TYPE.into(),
                source: "/s,#x".into(),
            })
        );
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"36 35 0:41 / /mnt rw"), None);
    }

    #[test]
    fn finds_the_root() {
        let root = mount_at(Path::new("/")).expect("proc");
        assert_eq!(root.expect("a root is mounted").point, Path::new("/"));
    }
}
