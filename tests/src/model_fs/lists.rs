//! Access control lists of the model: read off the attribute byte by byte, whenever one is needed.

use super::{Answer, Id, ModelFs, Node};
use coffer_fusefs::Errno;
use coffer_fusefs::attr::{Caller, Kind};
use std::collections::BTreeMap;

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

type List = Vec<(u16, u16, u32)>;
type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) fn is_list(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

fn parse(bytes: &[u8]) -> Answer<List> {
    if bytes.len() < 4 {
        return Err(Errno::EINVAL);
    }
    if bytes[..4] != [2, 0, 0, 0] || bytes.len() % 8 != 4 {
        return Err(Errno::EOPNOTSUPP);
    }
    let entries = bytes[4..].chunks(8).map(|entry| {
        let pair = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let id = u32::from_le_bytes(entry[4..].try_into().unwrap());
        (pair(0), pair(2), id)
    });
    let list: List = entries.collect();
    let tags: Vec<u16> = list.iter().map(|entry| entry.0).collect();
    let count = |tag| tags.iter().filter(|&&other| other == tag).count();
    let named = count(2) + count(8) > 0;
    let is_sound = tags.is_sorted()
        && [1, 4, 32].iter().all(|&tag| count(tag) == 1)
        && (count(16) == 1 || (count(16) == 0 && !named))
        && tags.iter().all(|tag| [1, 2, 4, 8, 16, 32].contains(tag))
        && list.iter().all(|&(_, bits, _)| bits < 8)
        && list
            .iter()
            .all(|&(tag, _, id)| ![2, 8].contains(&tag) || id != u32::MAX);
    if is_sound || list.is_empty() {
        Ok(list)
    } else {
        Err(Errno::EINVAL)
    }
}

fn bytes(list: &List) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0];
    for (tag, bits, id) in list {
        let id = if [2, 8].contains(tag) { *id } else { u32::MAX };
        out.extend(tag.to_le_bytes());
        out.extend(bits.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

/// The entry behind the bits of the group: the mask, where there is one.
fn class(list: &List) -> u16 {
    match list.iter().any(|entry| entry.0 == 16) {
        true => 16,
        false => 4,
    }
}

fn mode(list: &List) -> u32 {
    let of = |tag| u32::from(list.iter().find(|entry| entry.0 == tag).unwrap().1);
    of(1) << 6 | of(class(list)) << 3 | of(32)
}

fn with_mode(mut list: List, mode: u32) -> List {
    let class = class(&list);
    for (tag, bits, _) in &mut list {
        match *tag {
            1 => *bits = (mode >> 6 & 7) as u16,
            32 => *bits = (mode & 7) as u16,
            tag if tag == class => *bits = (mode >> 3 & 7) as u16,
            _ => {}
        }
    }
    list
}

/// chmod.
pub(super) fn follow_mode(node: &mut Node) {
    let mode = node.mode;
    if let Some(value) = node.xattrs.get_mut(ACCESS) {
        *value = bytes(&with_mode(parse(value).unwrap(), mode));
    }
}

/// Mode and lists of a new node in a directory.
pub(super) fn given(dir: &Node, kind: Kind, wish: u32, umask: u32) -> (u32, Xattrs) {
    let mut xattrs = Xattrs::new();
    let Some(value) = dir.xattrs.get(DEFAULT) else {
        return (wish & !umask, xattrs);
    };
    if kind == Kind::Directory {
        xattrs.insert(DEFAULT.to_vec(), value.clone());
    }
    let list = parse(value).unwrap();
    let both = wish & mode(&list);
    if list.len() > 3 {
        xattrs.insert(ACCESS.to_vec(), bytes(&with_mode(list, both)));
    }
    (wish & 0o7000 | both, xattrs)
}

impl ModelFs {
    pub(super) fn set_list(
        &mut self,
        caller: &Caller,
        id: Id,
        name: &[u8],
        value: &[u8],
    ) -> Answer<()> {
        let now = self.now;
        let list = parse(value)?;
        let node = self.at(id);
        if node.kind == Kind::Symlink {
            return Err(Errno::EOPNOTSUPP);
        }
        if name == DEFAULT && node.kind != Kind::Directory {
            return Err(Errno::EACCES);
        }
        if name == ACCESS && !list.is_empty() {
            node.mode = node.mode & 0o7000 | mode(&list);
            if caller.uid != 0 && caller.gid != node.gid {
                node.mode &= !0o2000;
            }
        }
        node.times[2] = now;
        node.xattrs.remove(name);
        if list.len() > 3 || (name == DEFAULT && !list.is_empty()) {
            node.xattrs.insert(name.to_vec(), bytes(&list));
        }
        Ok(())
    }
}
