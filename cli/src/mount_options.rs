//! The options behind `-o`, as mount(8) and fstab(5) write them.
//!
//! - A backslash takes the special meaning of the letter behind it, so that a comma can be part of
//!   a value.
//! - The last word on a subject wins, as with mount(8).
//! - An unknown option is an error that names it; what only helpers of mount(8) need is passed over.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use coffer_fusefs::AttachOptions;

/// What the options ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) attach: AttachOptions,
    /// The source that tables of mounts show; none: the path of the store.
    pub(crate) source: Option<OsString>,
    /// For fstab, where a command line has no room for `--passphrase-file`.
    pub(crate) passphrase_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
}

/// Parses all `-o` arguments.
///
/// # Errors
/// The text names the option that is not understood.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    for argument in arguments {
        for option in split(argument) {
            if !option.is_empty() {
                apply(&mut parsed, &option)?;
            }
        }
    }
    Ok(parsed)
}

fn apply(parsed: &mut Parsed, option: &[u8]) -> Result<(), String> {
    let attach = &mut parsed.attach;
    let value = |prefix: &str| option.strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec);
    if let Some(name) = value("fsname=") {
        parsed.source = Some(OsString::from_vec(name));
        return Ok(());
    }
    if let Some(path) = value("passphrase_file=") {
        parsed.passphrase_file = Some(OsString::from_vec(path).into());
        return Ok(());
    }
    if let Some(path) = value("key_file=") {
        parsed.key_file = Some(OsString::from_vec(path).into());
        return Ok(());
    }
    match option {
        b"ro" => attach.read_only = true,
        b"rw" => attach.read_only = false,
        b"allow_other" => attach.allow_other = true,
        b"dev" => attach.dev = true,
        b"nodev" => attach.dev = false,
        b"suid" => attach.suid = true,
        b"nosuid" => attach.suid = false,
        b"exec" => attach.no_exec = false,
        b"noexec" => attach.no_exec = true,
        b"atime" | b"relatime" => attach.no_atime = false,
        b"noatime" => attach.no_atime = true,
        b"sync" => attach.sync = true,
        b"async" => attach.sync = false,
        b"dirsync" => attach.dir_sync = true,
        // True for every mount.
        b"defaults" | b"default_permissions" | b"subtype=coffer" => {}
        // Words for mount(8) and systemd, which leave them in.
        b"auto" | b"noauto" | b"nofail" | b"_netdev" | b"user" | b"nouser" | b"users"
        | b"owner" | b"group" => {}
        _ if option.starts_with(b"x-") || option.starts_with(b"comment=") => {}
        _ => {
            return Err(format!(
                "unknown mount option `{}`",
                crate::terminal::printable(option)
            ));
        }
    }
    Ok(())
}

/// Splits at commas that no backslash precedes and takes the backslashes away.
fn split(argument: &OsStr) -> Vec<Vec<u8>> {
    let mut options = vec![Vec::new()];
    let mut bytes = argument.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        let literal = match byte {
            b',' => {
                options.push(Vec::new());
                continue;
            }
            b'\\' => *bytes.next().unwrap_or(&byte),
            _ => byte,
        };
        if let Some(option) = options.last_mut() {
            option.push(literal);
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Parsed {
        parse(&[text.into()]).expect("options")
    }

    #[test]
    fn the_default_is_safe() {
        assert_eq!(parsed(""), Parsed::default());
        let attach = parsed("").attach;
        assert!(!attach.dev && !attach.suid && !attach.allow_other);
    }

    #[test]
    fn the_last_word_wins() {
        assert!(!parsed("ro,rw").attach.read_only);
        assert!(parsed("rw,ro").attach.read_only);
        let twice = parse(&["suid,dev".into(), "nosuid".into()]).expect("options");
        assert!(twice.attach.dev && !twice.attach.suid);
    }

    #[test]
    fn a_comma_in_a_value_is_no_option() {
        let tricky = parsed(r"fsname=a\,allow_other\\,noatime");
        assert_eq!(tricky.source, Some(r"a,allow_other\".into()));
        assert!(!tricky.attach.allow_other && tricky.attach.no_atime);
    }

    #[test]
    fn words_for_helpers_are_passed_over() {
        assert_eq!(
            parsed("x-systemd.automount,_netdev,nofail,auto,defaults,comment=x"),
            Parsed::default()
        );
    }

    #[test]
    fn an_unknown_option_is_named() {
        assert_eq!(
            parse(&["ro,nonempty".into()]),
            Err("unknown mount option `nonempty`".into())
        );
        assert!(parse(&["ro=1".into()]).is_err());
    }
}
